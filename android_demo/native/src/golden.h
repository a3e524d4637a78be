// Golden samples: outputs of eager PyTorch that the runtime must reproduce, as `export/format/golden.py` writes
// them.
#pragma once

#include <memory>
#include <vector>

#include "mnet/bundle.h"
#include "mnet/session.h"

namespace mnet {

/// One sample: its inputs, and the outputs under the default weights and under the golden ones.
struct Sample {
    std::vector<Input> inputs;
    Outputs by_default;
    Outputs swapped;
};

/// The samples of a bundle. The inputs lie in the file's memory, which is kept.
struct Golden {
    explicit Golden(const Bundle& bundle);

    std::shared_ptr<const Bytes> file;
    std::vector<Sample> samples;
};

/// The largest absolute difference of any element; infinite where the sizes differ or one is not finite.
double max_abs_error(const Outputs& actual, const Outputs& expected);

/// Whether no element is off by more than `tolerance * max(1, largest magnitude of its output)`.
bool agrees(const Outputs& actual, const Outputs& expected, double tolerance);

}  // namespace mnet
