#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace mnet {

/// Times `swaps` swaps and, after each, inference on three sessions in turn: the swappable one and two of the
/// same model with constant weights, of which the second is a control: its ratio to the first is what chance
/// gives.
///
/// The figures of `mnet bench --json` under the same names, and more. After each swap the output is compared
/// with eager PyTorch's under the same weights.
nlohmann::ordered_json bench(const std::filesystem::path& folder, int swaps);

}  // namespace mnet
