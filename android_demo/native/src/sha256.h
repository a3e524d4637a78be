#pragma once

#include <string>

namespace mnet {

/// SHA-256 of `data`, in hex.
std::string sha256(const void* data, std::size_t size);

}  // namespace mnet
