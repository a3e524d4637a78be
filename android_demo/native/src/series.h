// The swaps that a bundle carries reference outputs for: `bench/swaps.safetensors`, see `export/format/golden.py`.
#pragma once

#include <vector>

#include "mnet/bundle.h"
#include "mnet/session.h"
#include "probe.h"

namespace mnet {

/// The weights of swap 0, 1, … and the probe that eager PyTorch gives under them; after as many as are stored they
/// repeat.
class SwapSeries {
public:
    /// Throws BundleError if the bundle was opened without its files for benchmarks.
    explicit SwapSeries(const Bundle& bundle);

    /// The pack of a swap.
    Bytes pack(std::int64_t swap, std::int64_t version) const;

    /// The probe under that pack.
    const Probe& expected(std::int64_t swap) const { return expected_[stored(swap)]; }

    /// The probe under the default weights.
    const Probe& by_default() const { return by_default_; }

    /// The pack of the golden weights, and its probe.
    Bytes golden_pack(std::int64_t version) const;
    const Probe& golden() const { return golden_probe_; }

    /// The golden weights with one slot at its default, as a pack, and its probe.
    Bytes pack_alone(std::size_t slot, std::int64_t version) const;
    const Probe& alone(std::size_t slot) const { return alone_[slot]; }

private:
    using Weights = std::vector<std::vector<float>>;  // per slot

    std::size_t stored(std::int64_t swap) const { return static_cast<std::size_t>(swap) % scales_.size(); }
    Bytes packed(const Weights& values, std::int64_t version, const Probe& probe) const;

    Manifest manifest_;
    Weights default_, golden_;
    std::vector<float> scales_;
    std::vector<Probe> expected_, alone_;
    Probe golden_probe_, by_default_;
};

}  // namespace mnet
