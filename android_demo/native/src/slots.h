// How parameters get into their slots, as `export/format/slots.py` says.
#pragma once

#include <string>
#include <vector>

#include "mnet/bundle.h"
#include "pack.h"

namespace mnet {

/// The shape of a slot's value as the runtime takes it: in the order of its layout, which may leave out
/// dimensions of size 1. Throws BundleError if the layout is none of its parameter.
std::vector<std::int64_t> arranged_shape(const Slot& slot);

/// Writes a parameter, which lies in PyTorch's layout, in the one that the slot wants.
void store(const Slot& slot, const std::uint8_t* value, std::uint8_t* out);

/// Throws BundleError unless all slots are bytes of one file, each inside it and exactly as large as its
/// parameter: the runtime would notice neither. Returns that file's name.
std::string check_byte_slots(const Manifest& manifest);

/// A copy of the file of the slots that holds `parameters` in place of the sentinels, and their keys.
Bytes patch(const Bytes& file, const std::vector<Slot>& slots, const Parameters& parameters);

}  // namespace mnet
