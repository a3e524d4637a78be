#include "golden.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "mnet/errors.h"
#include "safetensors.h"

namespace mnet {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double error_of(const std::vector<float>& actual, const std::vector<float>& expected, double scale) {
    if (actual.size() != expected.size()) return kInfinity;
    double largest = 0;
    for (std::size_t k = 0; k < actual.size(); ++k) {
        const double error = std::fabs(double(actual[k]) - double(expected[k]));
        if (!std::isfinite(error)) return kInfinity;
        largest = std::max(largest, error);
        scale = std::max(scale, std::fabs(double(expected[k])));
    }
    return largest / scale;
}

const Tensor& find(const std::map<std::string, Tensor>& tensors, const std::string& kind, std::size_t sample,
                   const TensorInfo& info) {
    const std::string name = kind + "." + std::to_string(sample) + "." + info.name;
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw BundleError("the golden samples have no tensor " + name);
    if (found->second.size != info.bytes())
        throw BundleError("golden tensor " + name + " has a wrong size");
    return found->second;
}

}  // namespace

Golden::Golden(const Bundle& bundle) try : file(bundle.file(bundle.manifest().golden_samples)) {
    const Manifest& manifest = bundle.manifest();
    const auto tensors = Safetensors(*file).tensors();
    const auto outputs = [&](const std::string& kind, std::size_t sample) {
        Outputs values;
        for (const TensorInfo& info : manifest.outputs) {
            const Tensor& tensor = find(tensors, kind, sample, info);
            values.emplace_back(tensor.size / sizeof(float));
            std::memcpy(values.back().data(), tensor.data, tensor.size);
        }
        return values;
    };
    for (std::size_t k = 0; k < manifest.golden_count; ++k) {
        Sample sample{{}, outputs("default", k), outputs("swapped", k)};
        for (const TensorInfo& info : manifest.inputs) {
            const Tensor& tensor = find(tensors, "input", k, info);
            sample.inputs.push_back({tensor.data, tensor.size});
        }
        samples.push_back(std::move(sample));
    }
} catch (const Refused& error) {
    throw BundleError(bundle.manifest().golden_samples + ": " + error.detail);
}

double largest_error(const Outputs& actual, const Outputs& expected, const std::vector<TensorInfo>& infos) {
    if (actual.size() != expected.size()) return kInfinity;
    double largest = 0;
    for (std::size_t k = 0; k < actual.size(); ++k) {
        largest = std::max(largest, error_of(actual[k], expected[k], infos[k].scale));
    }
    return largest;
}

}  // namespace mnet
