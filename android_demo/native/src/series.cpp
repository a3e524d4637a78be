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

/// The probes in a tensor of shape [n, 16], or [16].
std::vector<Probe> probes(const std::map<std::string, Tensor>& tensors, const std::string& name, std::size_t count) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.dtype != "F64" || found->second.size != count * sizeof(Probe)) {
        throw BundleError("the stored swaps have no " + name + " of " + std::to_string(count) + " probes");
    }
    std::vector<Probe> values(count);
    std::memcpy(values.data(), found->second.data, found->second.size);
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
    if (!tensors.count("scale") || tensors.at("scale").size == 0) throw BundleError(manifest_.swaps + " has no scale");
    scales_ = floats(tensors.at("scale"));
    expected_ = probes(tensors, "probe", scales_.size());
    alone_ = probes(tensors, "alone", manifest_.slots.size());
    golden_probe_ = probes(tensors, "golden", 1).front();
    by_default_ = probes(tensors, "default", 1).front();
}

Bytes SwapSeries::pack(std::int64_t swap, std::int64_t version) const {
    const float scale = scales_[stored(swap)];
    Weights values = default_;
    for (std::size_t slot = 0; slot < values.size(); ++slot) {
        for (std::size_t k = 0; k < values[slot].size(); ++k) {
            values[slot][k] += scale * (golden_[slot][k] - default_[slot][k]);
        }
    }
    return packed(values, version, expected(swap));
}

Bytes SwapSeries::golden_pack(std::int64_t version) const { return packed(golden_, version, golden_probe_); }

Bytes SwapSeries::pack_alone(std::size_t slot, std::int64_t version) const {
    Weights values = golden_;
    values[slot] = default_[slot];
    return packed(values, version, alone_[slot]);
}

Bytes SwapSeries::packed(const Weights& values, std::int64_t version, const Probe& probe) const {
    Parameters parameters;
    for (std::size_t slot = 0; slot < values.size(); ++slot) {
        parameters.push_back({"F32", manifest_.slots[slot].shape,
                              reinterpret_cast<const std::uint8_t*>(values[slot].data()),
                              values[slot].size() * sizeof(float)});
    }
    return write_pack(parameters, manifest_, version, probe);
}

}  // namespace mnet
