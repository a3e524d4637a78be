#include "pack.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "mnet/errors.h"

namespace mnet {
namespace {

using nlohmann::json;

const char* const kSchema = "mnet.pack/1";
const char* const kMetadata = "mnet";
constexpr std::size_t kProbeLength = 16;

[[noreturn]] void malformed(const std::string& what) {
    throw Refused(Reason::malformed, "the pack's metadata is wrong: " + what);
}

const char* safetensors_name(DType dtype) { return dtype == DType::float32 ? "F32" : "I64"; }

std::string text(const std::vector<std::int64_t>& shape) { return json(shape).dump(); }

bool is_finite(const Tensor& tensor) {
    // The exponent of a NaN and of an infinity is all ones: one more carries into the sign, which was cut
    // off. Said without a branch, so that the compiler makes vectors of it.
    constexpr std::uint32_t kExponent = 0x7f800000, kLastBit = 0x00800000, kSign = 0x80000000;
    std::uint32_t carried = 0;
    for (std::size_t offset = 0; offset < tensor.size; offset += sizeof(float)) {
        std::uint32_t bits;
        std::memcpy(&bits, tensor.data + offset, sizeof bits);
        carried |= (bits & kExponent) + kLastBit;
    }
    return (carried & kSign) == 0;
}

std::vector<float> read_probe(const json& values) {
    if (!values.is_array() || values.empty() || values.size() > kProbeLength)
        malformed("probe: 1 to 16 numbers");
    std::vector<float> probe;
    for (const json& value : values) {
        if (!value.is_number()) malformed("probe: " + value.dump() + " is no number");
        probe.push_back(value.get<float>());
    }
    return probe;
}

}  // namespace

std::vector<float> probe_values(std::vector<float> output) {
    output.resize(std::min(output.size(), kProbeLength));
    return output;
}

WeightPack read_pack(const Bytes& data, const Manifest& manifest) {
    const Safetensors file(data);
    const json metadata = json::parse(file.metadata(kMetadata), nullptr, /*allow_exceptions=*/false);
    if (!metadata.is_object()) malformed("it is not a JSON object");
    for (const char* key : {"schema", "bundle", "version", "generator", "probe"}) {
        if (!metadata.contains(key)) malformed(std::string("no ") + key);
    }
    if (metadata.size() != 5) malformed("it has an unknown entry");
    if (metadata["schema"] != kSchema) malformed("schema " + metadata["schema"].dump());
    if (!metadata["bundle"].is_string()) malformed("bundle: no text");
    if (!metadata["generator"].is_string()) malformed("generator: no text");
    if (!metadata["version"].is_number_unsigned()) malformed("version: no natural number");
    WeightPack pack{metadata["version"], read_probe(metadata["probe"]), {}};
    if (pack.version < 0) malformed("version: too large");
    if (const auto bundle = metadata["bundle"].get<std::string>(); bundle != manifest.id) {
        throw Refused(Reason::wrong_bundle, "the pack is for bundle " + bundle + ", this is " + manifest.id);
    }
    pack.parameters = check_parameters(file.tensors(), manifest.slots);
    return pack;
}

Parameters check_parameters(const std::map<std::string, Tensor>& tensors, const std::vector<Slot>& slots) {
    std::set<std::string> expected;
    for (const Slot& slot : slots) {
        if (!tensors.count(slot.parameter))
            throw Refused(Reason::missing_tensor, "no tensor " + slot.parameter);
        expected.insert(slot.parameter);
    }
    for (const auto& [name, tensor] : tensors) {
        if (!expected.count(name)) throw Refused(Reason::extra_tensor, "the bundle has no slot for " + name);
    }
    Parameters parameters;
    for (const Slot& slot : slots) {
        const Tensor& tensor = tensors.at(slot.parameter);
        if (tensor.dtype != safetensors_name(slot.dtype)) {
            throw Refused(Reason::wrong_dtype, slot.parameter + " is " + tensor.dtype + ", its slot " +
                                                   safetensors_name(slot.dtype));
        }
        if (tensor.shape != slot.shape) {
            throw Refused(Reason::wrong_shape,
                          slot.parameter + " is " + text(tensor.shape) + ", its slot " + text(slot.shape));
        }
        if (slot.dtype == DType::float32 && !is_finite(tensor)) {
            throw Refused(Reason::not_finite, slot.parameter + " holds a NaN or an infinity");
        }
        parameters.push_back(tensor);
    }
    return parameters;
}

Bytes write_pack(const Parameters& parameters, const Manifest& manifest, std::int64_t version,
                 const std::vector<float>& probe) {
    const json metadata = {{"schema", kSchema},
                           {"bundle", manifest.id},
                           {"version", version},
                           {"generator", "bench"},
                           {"probe", probe}};
    std::map<std::string, Tensor> tensors;
    for (std::size_t k = 0; k < parameters.size(); ++k) tensors[manifest.slots[k].parameter] = parameters[k];
    return write_safetensors(tensors, kMetadata, metadata.dump());
}

}  // namespace mnet
