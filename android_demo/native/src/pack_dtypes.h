// In what generated parameters travel, whatever the runtime computes in, as `export/format/pack_dtypes.py` says:
// fp32, fp16, or int8 with one fp32 scale for each output channel in a tensor of its own.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mnet/bundle.h"
#include "safetensors.h"

namespace mnet {

/// A tensor of a pack; `dtype` is safetensors' name.
struct Carrier {
    std::string name;
    std::string dtype;
    std::vector<std::int64_t> shape;
};

/// The tensors that a pack holds for a slot.
std::vector<Carrier> carriers(const Slot& slot);

/// The values that a slot's tensors, checked against `carriers`, stand for. For slots that do not travel in
/// fp32.
std::vector<float> widened(const Slot& slot, const std::map<std::string, Tensor>& tensors);

/// The content of each of the slot's `carriers` for a fp32 parameter.
std::vector<Bytes> narrowed(const Slot& slot, const Tensor& parameter);

}  // namespace mnet
