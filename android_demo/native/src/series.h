// The swaps that a bundle carries reference outputs for: `bench/swaps.safetensors`, see `export/golden.py`.
#pragma once

#include <vector>

#include "mnet/bundle.h"
#include "mnet/session.h"

namespace mnet {

/// Packs of the versions 1, 2, … and what eager PyTorch gives under each; after `count` the weights come
/// again.
class SwapSeries {
public:
    /// Throws BundleError if the bundle was opened without its files for benchmarks.
    explicit SwapSeries(const Bundle& bundle);

    /// The pack of a version.
    Bytes pack(std::int64_t version) const;

    /// The first output for the first golden sample under that pack.
    const std::vector<float>& expected(std::int64_t version) const;

private:
    std::size_t turn(std::int64_t version) const {
        return static_cast<std::size_t>(version - 1) % scales_.size();
    }

    Manifest manifest_;
    std::vector<std::vector<float>> default_, golden_;  // per slot
    std::vector<float> scales_;
    std::vector<std::vector<float>> expected_;
};

}  // namespace mnet
