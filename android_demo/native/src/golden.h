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

/// The largest difference of any element, in units of the larger of its output's scale and largest magnitude expected;
/// infinite where the sizes differ or one is not finite. Outputs agree where it is within the bundle's tolerance.
double largest_error(const Outputs& actual, const Outputs& expected, const std::vector<TensorInfo>& infos);

}  // namespace mnet
