// The probe: 16 seeded, signed sums over all outputs, small enough to travel in a pack, and moved by every weight
// that moves an output. As `export/format/probe.py` computes it.
#pragma once

#include <array>
#include <vector>

#include "mnet/bundle.h"
#include "mnet/session.h"

namespace mnet {

using Probe = std::array<double, 16>;

/// Of all outputs of one inference, each in units of its scale.
Probe probe(const Outputs& outputs, const std::vector<TensorInfo>& infos);

/// The largest difference, relative to the largest magnitude of `expected` where that is over 1; NaN and infinities give
/// an infinite one.
double distance(const Probe& actual, const Probe& expected);

}  // namespace mnet
