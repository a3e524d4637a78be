#include "slots.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>

#include "mnet/errors.h"
#include "sha256.h"

namespace mnet {
namespace {

constexpr std::size_t kKeySize = 64;

/// PyTorch's layout, one letter a dimension.
std::string_view pytorch_layout(const Slot& slot) {
    constexpr std::string_view kLayouts[] = {"", "O", "OI", "OIW", "OIHW", "OIDHW"};
    if (slot.shape.size() >= std::size(kLayouts))
        throw BundleError(slot.parameter + " has too many dimensions");
    return kLayouts[slot.shape.size()];
}

}  // namespace

std::vector<std::int64_t> arranged_shape(const Slot& slot) {
    const std::string_view own = pytorch_layout(slot);
    std::vector<std::int64_t> shape;
    for (char letter : slot.layout) {
        const std::size_t from = own.find(letter);
        if (from == std::string_view::npos ||
            std::count(slot.layout.begin(), slot.layout.end(), letter) != 1) {
            throw BundleError(slot.parameter + " has no layout " + slot.layout);
        }
        shape.push_back(slot.shape[from]);
    }
    for (std::size_t k = 0; k < own.size(); ++k) {
        if (slot.layout.find(own[k]) == std::string::npos && slot.shape[k] != 1) {
            throw BundleError(slot.parameter + ": layout " + slot.layout + " leaves out " + own[k]);
        }
    }
    return shape;
}

void store(const Slot& slot, const std::uint8_t* value, std::uint8_t* out) {
    const std::string_view own = pytorch_layout(slot);
    const std::size_t item = item_size(slot.dtype), dimensions = slot.layout.size();
    const std::size_t size = TensorInfo{slot.parameter, slot.dtype, slot.shape}.bytes();
    if (own.substr(0, dimensions) == slot.layout) {  // what is left out behind it has size 1
        std::memcpy(out, value, size);
        return;
    }
    std::vector<std::size_t> lengths(dimensions), strides(dimensions), position(dimensions);
    for (std::size_t k = 0; k < dimensions; ++k) {
        const std::size_t from = own.find(slot.layout[k]);
        lengths[k] = static_cast<std::size_t>(slot.shape[from]);
        strides[k] = item;
        for (std::size_t later = from + 1; later < own.size(); ++later) {
            strides[k] *= static_cast<std::size_t>(slot.shape[later]);
        }
    }
    for (const std::uint8_t* end = out + size; out != end; out += item) {
        std::memcpy(out, value, item);
        for (std::size_t k = dimensions; k-- > 0;) {  // the next position, last dimension first
            value += strides[k];
            if (++position[k] < lengths[k]) break;
            value -= strides[k] * lengths[k];
            position[k] = 0;
        }
    }
}

std::string check_byte_slots(const Manifest& manifest) {
    const std::string& file = manifest.slots.front().file;
    const auto entry = manifest.files.find(file);
    if (entry == manifest.files.end()) throw BundleError("the bundle has no file " + file + " for its slots");
    const std::size_t file_size = entry->second.size;
    const auto inside = [&](std::size_t offset, std::size_t size) {
        return offset <= file_size && size <= file_size - offset;
    };
    for (const Slot& slot : manifest.slots) {
        bool fits = slot.kind == Slot::Kind::bytes && slot.file == file && inside(slot.offset, slot.size) &&
                    slot.size == TensorInfo{slot.parameter, slot.dtype, arranged_shape(slot)}.bytes();
        for (std::size_t key : slot.keys) fits &= inside(key, kKeySize);
        fits &= inside(slot.hashed_offset, slot.hashed_size);
        if (!fits) throw BundleError(slot.parameter + " does not fit its slot in " + file);
    }
    return file;
}

Bytes patch(const Bytes& file, const std::vector<Slot>& slots, const Parameters& parameters) {
    Bytes patched = file;
    for (std::size_t k = 0; k < slots.size(); ++k) {
        store(slots[k], parameters[k].data, patched.data() + slots[k].offset);
    }
    // All slots first: a hashed range may hold several.
    for (const Slot& slot : slots) {
        if (slot.keys.empty()) continue;
        const std::string key = sha256(patched.data() + slot.hashed_offset, slot.hashed_size);
        for (std::size_t offset : slot.keys) std::memcpy(patched.data() + offset, key.data(), kKeySize);
    }
    return patched;
}

}  // namespace mnet
