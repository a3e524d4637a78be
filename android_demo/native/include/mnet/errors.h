// What can be wrong with a bundle or a weight pack. The names are those of the Python side's
// `export/format/errors.py`.
#pragma once

#include <stdexcept>
#include <string>

namespace mnet {

enum class Reason {
    wrong_bundle,
    stale_version,
    wrong_size,
    wrong_hash,
    malformed,
    missing_tensor,
    extra_tensor,
    wrong_shape,
    wrong_dtype,
    not_finite,
    self_test_failed,
    missing_file,
    extra_file,
};

/// The reason as every implementation writes it, such as `stale_version`.
const char* name(Reason reason);

/// A bundle cannot be used: missing, of another schema, for another runtime. Says what and where.
class BundleError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// A bundle is not what was exported: a file changed, is missing or was added, or outputs are wrong.
class IntegrityError : public BundleError {
public:
    IntegrityError(Reason reason, const std::string& detail)
        : BundleError(std::string(name(reason)) + ": " + detail), reason(reason), detail(detail) {}

    const Reason reason;
    const std::string detail;
};

/// New weights were refused; the session keeps serving the current ones.
class Refused : public std::runtime_error {
public:
    Refused(Reason reason, const std::string& detail)
        : std::runtime_error(std::string(name(reason)) + ": " + detail), reason(reason), detail(detail) {}

    const Reason reason;
    const std::string detail;
};

}  // namespace mnet
