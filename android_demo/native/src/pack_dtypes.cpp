#include "pack_dtypes.h"

#include <executorch/runtime/core/portable_type/half.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace mnet {
namespace {

using Half = executorch::runtime::etensor::Half;

constexpr int kScaleBits = 12;
constexpr float kLargest = 127;

template <typename Number>
std::vector<Number> numbers(const Tensor& tensor) {
    std::vector<Number> values(tensor.size / sizeof(Number));
    std::memcpy(values.data(), tensor.data, values.size() * sizeof(Number));
    return values;
}

template <typename Number>
Bytes bytes(const std::vector<Number>& values) {
    const auto* data = reinterpret_cast<const std::uint8_t*>(values.data());
    return {data, data + values.size() * sizeof(Number)};
}

std::string scale_name(const Slot& slot) { return slot.parameter + ":scale"; }

/// A 127th of the largest magnitude, rounded up to 12 bits, so that `int8 * scale` is exact in fp32.
float scale_of(const float* values, std::size_t count) {
    float largest = 0;
    for (std::size_t k = 0; k < count; ++k) largest = std::max(largest, std::fabs(values[k]));
    int exponent = 0;
    const float mantissa = std::frexp(largest / kLargest, &exponent);
    const float scale = std::ldexp(std::ceil(std::ldexp(mantissa, kScaleBits)), exponent - kScaleBits);
    return scale > 0 ? scale : 1;
}

std::vector<Bytes> quantized(const Slot& slot, const std::vector<float>& values) {
    std::vector<float> scale(static_cast<std::size_t>(slot.shape.front()));
    std::vector<std::int8_t> integers;
    const std::size_t each = values.size() / scale.size();
    for (std::size_t channel = 0; channel < scale.size(); ++channel) {
        const float* first = values.data() + channel * each;
        scale[channel] = scale_of(first, each);
        for (std::size_t k = 0; k < each; ++k) {
            integers.push_back(static_cast<std::int8_t>(std::nearbyint(first[k] / scale[channel])));
        }
    }
    return {bytes(integers), bytes(scale)};
}

}  // namespace

std::vector<Carrier> carriers(const Slot& slot) {
    switch (slot.pack_dtype) {
        case PackDType::float16:
            return {{slot.parameter, "F16", slot.shape}};
        case PackDType::int8:
            return {{slot.parameter, "I8", slot.shape}, {scale_name(slot), "F32", {slot.shape.front()}}};
        default:
            return {{slot.parameter, "F32", slot.shape}};
    }
}

std::vector<float> widened(const Slot& slot, const std::map<std::string, Tensor>& tensors) {
    const Tensor& tensor = tensors.at(slot.parameter);
    if (slot.pack_dtype == PackDType::float16) {
        const auto halves = numbers<Half>(tensor);
        return {halves.begin(), halves.end()};
    }
    const auto scale = numbers<float>(tensors.at(scale_name(slot)));
    const auto integers = numbers<std::int8_t>(tensor);
    std::vector<float> values(integers.begin(), integers.end());
    for (std::size_t k = 0; k < values.size(); ++k) values[k] *= scale[k / (values.size() / scale.size())];
    return values;
}

std::vector<Bytes> narrowed(const Slot& slot, const Tensor& parameter) {
    const auto values = numbers<float>(parameter);
    if (slot.pack_dtype == PackDType::int8) return quantized(slot, values);
    if (slot.pack_dtype == PackDType::float32) return {bytes(values)};
    return {bytes(std::vector<Half>(values.begin(), values.end()))};
}

}  // namespace mnet
