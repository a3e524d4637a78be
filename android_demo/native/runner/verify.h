#pragma once

#include "mnet/bundle.h"

namespace mnet {

/// What was found; in the units of the model's outputs.
struct Verification {
    std::size_t slots;
    double max_abs_error;
    double output_change;
    double tolerance;
};

/// Runs every golden sample under the default weights and after a swap, as `export/verify.py` does.
///
/// Throws IntegrityError unless all outputs agree with eager PyTorch's and the swap changes each sample's by
/// far more than the tolerance.
Verification verify(const Bundle& bundle);

}  // namespace mnet
