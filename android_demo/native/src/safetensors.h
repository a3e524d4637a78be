// The safetensors format: 8 bytes of header length, a JSON header, and the tensors one behind the other.
// https://github.com/huggingface/safetensors#format
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "mnet/bundle.h"

namespace mnet {

/// One tensor of a file, in the file's memory, which may be aligned to nothing. `dtype` is the format's, as
/// `F32`.
struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    const std::uint8_t* data;
    std::size_t size;
};

/// A safetensors file in memory that the caller keeps. What is wrong with it throws Refused for `malformed`.
class Safetensors {
public:
    /// Reads the header, and looks at no tensor yet.
    explicit Safetensors(const Bytes& file);

    /// A text of the header's metadata.
    std::string metadata(const std::string& key) const;

    /// The tensors by name; together they are all there is behind the header, without gap or overlap.
    std::map<std::string, Tensor> tensors() const;

private:
    std::shared_ptr<const nlohmann::json> header_;
    const std::uint8_t* data_;
    std::size_t size_;
};

/// A file of these tensors and one entry of metadata; without any where `key` is empty.
Bytes write_safetensors(const std::map<std::string, Tensor>& tensors, const std::string& key,
                        const std::string& value);

}  // namespace mnet
