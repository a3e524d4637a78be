// The swaps that a bundle carries reference outputs for: `bench/swaps.safetensors`, see `export/format/golden.py`.
#pragma once

#include <vector>

#include "mnet/bundle.h"
#include "mnet/session.h"

namespace mnet {

/// The weights of swap 0, 1, … and what eager PyTorch gives under them; after as many as are stored they come
/// again.
class SwapSeries {
public:
    /// Throws BundleError if the bundle was opened without its files for benchmarks.
    explicit SwapSeries(const Bundle& bundle);

    /// The pack of a swap.
    Bytes pack(std::int64_t swap, std::int64_t version) const;

    /// The first output for the first golden sample under that pack.
    const std::vector<float>& expected(std::int64_t swap) const;

private:
    std::size_t stored(std::int64_t swap) const { return static_cast<std::size_t>(swap) % scales_.size(); }

    Manifest manifest_;
    std::vector<std::vector<float>> default_, golden_;  // per slot
    std::vector<float> scales_;
    std::vector<std::vector<float>> expected_;
};

}  // namespace mnet
