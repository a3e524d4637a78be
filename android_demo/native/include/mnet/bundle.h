// A bundle: the folder that `mnet export` leaves, every byte of it checked when it is opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mnet {

using Bytes = std::vector<std::uint8_t>;

/// What the elements of an input or output are; a slot's are `float32`.
enum class DType { boolean, uint8, int32, int64, float16, float32 };

/// Size of one element, in bytes.
std::size_t item_size(DType dtype);

/// The name that the manifest has for it, such as `float32`.
const char* name(DType dtype);

/// One input or output of the device model.
struct TensorInfo {
    std::string name;
    DType dtype;
    std::vector<std::int64_t> shape;
    /// Whether a dimension is only bounded, see `dynamic` in `export/format/manifest.py`.
    bool dynamic = false;
    /// Of an output: its root mean square over the golden samples, to which every error relates.
    double scale = 1;

    std::size_t bytes() const;
};

/// What a parameter travels in; the runtime computes in fp32.
enum class PackDType { float32, float16, int8 };

/// Where one generated parameter lives in the artifact. `shape` and `dtype` are PyTorch's.
struct Slot {
    enum class Kind { input, bytes };

    std::string parameter;
    DType dtype;
    std::vector<std::int64_t> shape;
    /// How the runtime wants it, one letter a dimension: `O` out, `I` in, `D` depth, `H` height, `W` width.
    /// Dimensions of size 1 may be left out.
    std::string layout;
    PackDType pack_dtype;
    Kind kind;
    /// Of kind `input`: which input of `forward` it is.
    std::size_t index = 0;
    /// Of kind `bytes`: the file that holds it, and where.
    std::string file;
    std::size_t offset = 0;
    std::size_t size = 0;
    /// Where the SHA-256 of the hashed range stands in the file, in hex, by which the runtime knows its content. The
    /// range holds this slot, and may hold others.
    std::vector<std::size_t> keys;
    std::size_t hashed_offset = 0;
    std::size_t hashed_size = 0;
};

/// One file of the bundle. A phone needs those for the device; a benchmark the others as well.
struct File {
    std::string sha256;
    std::size_t size;
    bool for_device;
};

/// What `manifest.json` says, as far as a device needs it.
struct Manifest {
    std::string id;
    std::string target;
    std::string runtime;
    std::string model;
    std::string program;
    std::map<std::string, File> files;
    std::vector<TensorInfo> inputs;
    std::vector<TensorInfo> outputs;
    std::vector<Slot> slots;
    std::string default_weights;
    std::string golden_samples;
    std::string golden_weights;
    std::size_t golden_count;
    /// Relative: an output passes if no element is off by more than `tolerance * max(its scale, largest magnitude
    /// expected)`, a probe if its distance from the expected one is no larger.
    double tolerance;
    std::string baked;
    std::string swaps;
};

/// Reads and checks the bytes of `manifest.json`. Throws IntegrityError if one was changed since the export,
/// BundleError if it is of a schema unknown here.
Manifest parse_manifest(const Bytes& raw);

/// A bundle in memory. What was checked is what will be run: no file is read twice.
class Bundle {
public:
    enum class Scope { whole, device };

    /// Opens the bundle in `folder`. Of scope `device` the files for benchmarks may be absent, as on a phone.
    ///
    /// Throws IntegrityError where a file was changed, is missing or was added since the export, and another
    /// BundleError where there is no bundle or it is of a schema unknown here.
    static Bundle load(const std::filesystem::path& folder, Scope scope = Scope::whole);

    const Manifest& manifest() const { return manifest_; }

    /// The content of a file. Throws BundleError if the manifest names none such, or it was not loaded.
    std::shared_ptr<const Bytes> file(const std::string& name) const;

private:
    explicit Bundle(Manifest manifest) : manifest_(std::move(manifest)) {}

    Manifest manifest_;
    std::map<std::string, std::shared_ptr<const Bytes>> files_;
};

}  // namespace mnet
