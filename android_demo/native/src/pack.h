// Weight packs: one version of the generated parameters, as `export/format/packs.py` writes them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mnet/bundle.h"
#include "probe.h"
#include "safetensors.h"

namespace mnet {

/// The generated parameters in the order of the manifest's slots, PyTorch layout. They lie in someone else's
/// memory.
using Parameters = std::vector<Tensor>;

/// A pack that fits its bundle. Its parameters are fp32; they lie in the pack's bytes or, where it travels in
/// another dtype, in `widened`.
struct WeightPack {
    std::int64_t version;
    /// What eager PyTorch gives for the first golden sample under these weights, see `probe.h`.
    Probe probe;
    Parameters parameters;
    std::vector<std::vector<float>> widened;
};

/// Checks a pack against the bundle that it is for; throws Refused by name. That its version is newer than
/// the one served is for the session to check.
WeightPack read_pack(const Bytes& data, const Manifest& manifest);

/// `tensors` in the order of `slots`; throws Refused unless they are what the slots take, and finite.
Parameters check_parameters(const std::map<std::string, Tensor>& tensors, const std::vector<Slot>& slots);

/// Packs fp32 parameters that are in the order of the slots, in the dtypes that these travel in.
Bytes write_pack(const Parameters& parameters, const Manifest& manifest, std::int64_t version,
                 const Probe& probe);

}  // namespace mnet
