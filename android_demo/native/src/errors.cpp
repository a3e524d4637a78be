#include "mnet/errors.h"

namespace mnet {

const char* name(Reason reason) {
    switch (reason) {
        case Reason::wrong_bundle:
            return "wrong_bundle";
        case Reason::stale_version:
            return "stale_version";
        case Reason::wrong_size:
            return "wrong_size";
        case Reason::wrong_hash:
            return "wrong_hash";
        case Reason::malformed:
            return "malformed";
        case Reason::missing_tensor:
            return "missing_tensor";
        case Reason::extra_tensor:
            return "extra_tensor";
        case Reason::wrong_shape:
            return "wrong_shape";
        case Reason::wrong_dtype:
            return "wrong_dtype";
        case Reason::not_finite:
            return "not_finite";
        case Reason::self_test_failed:
            return "self_test_failed";
        case Reason::missing_file:
            return "missing_file";
        case Reason::extra_file:
            return "extra_file";
    }
    return "unknown";
}

}  // namespace mnet
