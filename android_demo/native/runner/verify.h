#pragma once

#include "mnet/bundle.h"

namespace mnet {

/// What was found, relative to the outputs' own scale. `packs` were swapped in, the golden one included; `output_change` is
/// the least distance of probes that a swap, or one parameter alone, made.
struct Verification {
    std::size_t slots;
    int packs;
    double max_error;
    double output_change;
    double tolerance;
};

/// Runs every golden sample under the default weights and after a swap, moves each parameter alone, and then makes 20
/// more swaps, as `export/verify.py` does.
///
/// Throws IntegrityError unless all outputs agree with eager PyTorch's and each swap changes the probe by far more than the
/// tolerance.
Verification verify(const Bundle& bundle);

}  // namespace mnet
