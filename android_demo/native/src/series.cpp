#include "series.h"

#include <cstring>

#include "mnet/errors.h"
#include "pack.h"

namespace mnet {
namespace {

std::vector<float> floats(const Tensor& tensor) {
    std::vector<float> values(tensor.size / sizeof(float));
    std::memcpy(values.data(), tensor.data, values.size() * sizeof(float));
    return values;
}

std::vector<std::vector<float>> weights(const Bundle& bundle, const std::string& name) {
    const auto file = bundle.file(name);
    std::vector<std::vector<float>> values;
    for (const Tensor& tensor : check_parameters(Safetensors(*file).tensors(), bundle.manifest().slots)) {
        values.push_back(floats(tensor));
    }
    return values;
}

}  // namespace

SwapSeries::SwapSeries(const Bundle& bundle)
    : manifest_(bundle.manifest()),
      default_(weights(bundle, manifest_.default_weights)),
      golden_(weights(bundle, manifest_.golden_weights)) {
    const auto file = bundle.file(manifest_.swaps);
    const auto tensors = Safetensors(*file).tensors();
    if (!tensors.count("scale") || !tensors.count("output") || tensors.at("scale").size == 0) {
        throw BundleError(manifest_.swaps + " has no scale and output");
    }
    scales_ = floats(tensors.at("scale"));
    const std::vector<float> outputs = floats(tensors.at("output"));
    const auto each = static_cast<std::ptrdiff_t>(outputs.size() / scales_.size());
    for (auto start = outputs.begin(); start != outputs.end(); start += each) {
        expected_.emplace_back(start, start + each);
    }
}

Bytes SwapSeries::pack(std::int64_t swap, std::int64_t version) const {
    const float scale = scales_[stored(swap)];
    std::vector<std::vector<float>> values = default_;
    Parameters parameters;
    for (std::size_t slot = 0; slot < values.size(); ++slot) {
        for (std::size_t k = 0; k < values[slot].size(); ++k) {
            values[slot][k] += scale * (golden_[slot][k] - default_[slot][k]);
        }
        parameters.push_back({"F32", manifest_.slots[slot].shape,
                              reinterpret_cast<const std::uint8_t*>(values[slot].data()),
                              values[slot].size() * sizeof(float)});
    }
    return write_pack(parameters, manifest_, version, probe_values(expected(swap)));
}

const std::vector<float>& SwapSeries::expected(std::int64_t swap) const { return expected_[stored(swap)]; }

}  // namespace mnet
