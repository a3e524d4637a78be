#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace mnet {

/// What sessions of a bundle take in this process, which must have done nothing else: the figures of
/// `export/bench/memory.py`, resident bytes.
///
/// Throws std::runtime_error where the system does not tell.
nlohmann::ordered_json memory(const std::filesystem::path& folder);

}  // namespace mnet
