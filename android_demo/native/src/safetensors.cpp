#include "safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "mnet/errors.h"

namespace mnet {
namespace {

using nlohmann::json;

constexpr std::size_t kLengthSize = 8;
const char* const kMetadata = "__metadata__";

const std::map<std::string, std::size_t> kItemSizes = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
    {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8},
};

[[noreturn]] void malformed(const std::string& what) {
    throw Refused(Reason::malformed, "not a safetensors file: " + what);
}

std::uint64_t natural(const json& value) {
    // Never `dump`, which recurses: what was sent may be nested as deep as it is long.
    if (!value.is_number_unsigned()) malformed(std::string(value.type_name()) + " is no natural number");
    return value.get<std::uint64_t>();
}

/// Size in bytes of a tensor of this shape; refuses one that no memory could hold.
std::size_t size_of(const std::vector<std::int64_t>& shape, std::size_t item_size) {
    std::size_t size = item_size;
    for (std::int64_t length : shape) {
        if (__builtin_mul_overflow(size, static_cast<std::size_t>(length), &size))
            malformed("a shape is too large");
    }
    return size;
}

}  // namespace

Safetensors::Safetensors(const Bytes& file) {
    if (file.size() < kLengthSize) malformed("it is too short");
    std::uint64_t length = 0;
    for (std::size_t k = kLengthSize; k-- > 0;) length = length << 8 | file[k];
    if (length > file.size() - kLengthSize) malformed("the header is longer than the file");
    const auto start = file.begin() + kLengthSize;
    data_ = file.data() + kLengthSize + length;
    size_ = file.size() - kLengthSize - length;
    header_ = std::make_shared<const json>(
        json::parse(start, start + static_cast<std::ptrdiff_t>(length), nullptr, /*allow_exceptions=*/false));
    if (!header_->is_object()) malformed("the header is not a JSON object");
}

std::string Safetensors::metadata(const std::string& key) const try {
    return header_->at(kMetadata).at(key);
} catch (const json::exception& error) {
    malformed(error.what());
}

std::map<std::string, Tensor> Safetensors::tensors() const try {
    std::map<std::string, Tensor> tensors;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const auto& [name, entry] : header_->items()) {
        if (name == kMetadata) continue;
        Tensor tensor{entry.at("dtype"), {}, nullptr, 0};
        for (const json& length : entry.at("shape")) {
            tensor.shape.push_back(static_cast<std::int64_t>(natural(length)));
        }
        const auto item_size = kItemSizes.find(tensor.dtype);
        if (item_size == kItemSizes.end()) malformed(name + " is of the unknown dtype " + tensor.dtype);
        const json& offsets = entry.at("data_offsets");
        if (offsets.size() != 2) malformed(name + " has no start and end");
        const std::uint64_t begin = natural(offsets[0]), end = natural(offsets[1]);
        if (begin > end || end > size_) malformed(name + " lies outside the file");
        tensor.data = data_ + begin;
        tensor.size = end - begin;
        if (tensor.size != size_of(tensor.shape, item_size->second))
            malformed(name + " has not its shape's size");
        ranges.emplace_back(begin, end);
        tensors[name] = std::move(tensor);
    }
    std::sort(ranges.begin(), ranges.end());
    std::uint64_t covered = 0;
    for (const auto& [begin, end] : ranges) {
        if (begin != covered) malformed("its tensors leave a gap or overlap");
        covered = end;
    }
    if (covered != size_) malformed("there is something behind its tensors");
    return tensors;
} catch (const json::exception& error) {
    malformed(error.what());
}

Bytes write_safetensors(const std::map<std::string, Tensor>& tensors, const std::string& key,
                        const std::string& value) {
    json header;
    if (!key.empty()) header[kMetadata][key] = value;
    std::size_t offset = 0;
    for (const auto& [name, tensor] : tensors) {
        header[name] = {{"dtype", tensor.dtype},
                        {"shape", tensor.shape},
                        {"data_offsets", {offset, offset + tensor.size}}};
        offset += tensor.size;
    }
    std::string text = header.dump();
    text.append((kLengthSize - text.size() % kLengthSize) % kLengthSize, ' ');
    Bytes file;
    for (std::size_t k = 0; k < kLengthSize; ++k)
        file.push_back(static_cast<std::uint8_t>(text.size() >> 8 * k));
    file.insert(file.end(), text.begin(), text.end());
    for (const auto& [name, tensor] : tensors)
        file.insert(file.end(), tensor.data, tensor.data + tensor.size);
    return file;
}

}  // namespace mnet
