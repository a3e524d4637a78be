#pragma once

#include "mnet/bundle.h"

namespace mnet {

/// What was found; in the units of the model's outputs. `packs` were swapped in, the golden one included.
struct Verification {
    std::size_t slots;
    int packs;
    double max_abs_error;
    double output_change;
    double tolerance;
};

/// Runs every golden sample under the default weights and after a swap, and then makes 20 more swaps, as
/// `export/verify.py` does.
///
/// Throws IntegrityError unless all outputs agree with eager PyTorch's and each swap changes them by far more
/// than the tolerance.
Verification verify(const Bundle& bundle);

}  // namespace mnet
