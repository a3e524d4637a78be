#include "probe.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace mnet {
namespace {

/// The bits that say which sums take value number `index` with which sign: murmur3's finalizer of a Weyl sequence.
std::uint32_t signs(std::uint32_t index) {
    std::uint32_t hash = (index + 1) * 0x9E3779B1u;
    hash = (hash ^ (hash >> 16)) * 0x85EBCA6Bu;
    hash = (hash ^ (hash >> 13)) * 0xC2B2AE35u;
    return hash ^ (hash >> 16);
}

}  // namespace

Probe probe(const Outputs& outputs, const std::vector<TensorInfo>& infos) {
    Probe sums{};
    std::uint32_t count = 0;
    for (std::size_t output = 0; output < outputs.size(); ++output) {
        for (const float element : outputs[output]) {
            const double value = double(element) / infos[output].scale;
            const std::uint32_t bits = signs(count++);
            for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += (bits >> k & 1) ? value : -value;
        }
    }
    for (double& sum : sums) sum /= std::sqrt(double(count));
    return sums;
}

double distance(const Probe& actual, const Probe& expected) {
    double largest = 0, unit = 1;
    for (std::size_t k = 0; k < actual.size(); ++k) {
        const double difference = std::fabs(actual[k] - expected[k]);
        if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
        largest = std::max(largest, difference);
        unit = std::max(unit, std::fabs(expected[k]));
    }
    return largest / unit;
}

}  // namespace mnet
