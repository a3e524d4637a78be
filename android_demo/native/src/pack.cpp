#include "pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "mnet/errors.h"
#include "pack_dtypes.h"

namespace mnet {
namespace {

using nlohmann::json;

const char* const kSchema = "mnet.pack/2";
const char* const kMetadata = "mnet";
/// The largest version of releases and packs, on every phone and server.
constexpr std::uint64_t kMaxVersion = 0x7fffffff;

[[noreturn]] void malformed(const std::string& what) {
    throw Refused(Reason::malformed, "the pack's metadata is wrong: " + what);
}

std::string text(const std::vector<std::int64_t>& shape) { return json(shape).dump(); }

/// Of IEEE 754 numbers as wide as `Bits`, whose exponents these bits are and, of them, the last one.
template <typename Bits>
bool is_finite(const Tensor& tensor, Bits exponent, Bits last_bit) {
    // The exponent of a NaN and of an infinity is all ones: one more carries into the sign, which was cut
    // off. Said without a branch, so that the compiler makes vectors of it.
    Bits carried = 0;
    for (std::size_t offset = 0; offset < tensor.size; offset += sizeof(Bits)) {
        Bits bits;
        std::memcpy(&bits, tensor.data + offset, sizeof bits);
        carried |= static_cast<Bits>((bits & exponent) + last_bit);
    }
    return (carried >> (8 * sizeof(Bits) - 1)) == 0;
}

bool is_finite(const Tensor& tensor) {
    if (tensor.dtype == "F32") return is_finite<std::uint32_t>(tensor, 0x7f800000, 0x00800000);
    if (tensor.dtype == "F16") return is_finite<std::uint16_t>(tensor, 0x7c00, 0x0400);
    return true;
}

/// Throws Refused unless `tensors` are these carriers, and finite.
void check(const std::map<std::string, Tensor>& tensors, const std::vector<Carrier>& expected) {
    std::set<std::string> names;
    for (const Carrier& carrier : expected) {
        if (!tensors.count(carrier.name)) throw Refused(Reason::missing_tensor, "no tensor " + carrier.name);
        names.insert(carrier.name);
    }
    for (const auto& [name, tensor] : tensors) {
        if (!names.count(name)) throw Refused(Reason::extra_tensor, "the bundle has no slot for " + name);
    }
    for (const auto& [name, dtype, shape] : expected) {
        const Tensor& tensor = tensors.at(name);
        if (tensor.dtype != dtype) {
            throw Refused(Reason::wrong_dtype, name + " is " + tensor.dtype + ", its slot " + dtype);
        }
        if (tensor.shape != shape) {
            throw Refused(Reason::wrong_shape,
                          name + " is " + text(tensor.shape) + ", its slot " + text(shape));
        }
        if (!is_finite(tensor)) throw Refused(Reason::not_finite, name + " holds a NaN or an infinity");
    }
}

/// The parameters of a pack's tensors, which `check` has passed.
void widen(const std::map<std::string, Tensor>& tensors, const std::vector<Slot>& slots, WeightPack& pack) {
    for (const Slot& slot : slots) {
        if (slot.pack_dtype == PackDType::float32) {
            pack.parameters.push_back(tensors.at(slot.parameter));
            continue;
        }
        const auto& values = pack.widened.emplace_back(widened(slot, tensors));
        const auto* data = reinterpret_cast<const std::uint8_t*>(values.data());
        pack.parameters.push_back({"F32", slot.shape, data, values.size() * sizeof(float)});
    }
}

Probe read_probe(const json& values) {
    Probe probe{};
    if (!values.is_array() || values.size() != probe.size()) malformed("probe: 16 numbers");
    for (std::size_t k = 0; k < probe.size(); ++k) {
        if (!values[k].is_number()) malformed(std::string("probe: ") + values[k].type_name() + " is no number");
        probe[k] = values[k].get<double>();
        if (!std::isfinite(probe[k])) malformed("probe: a number that is not finite");
    }
    return probe;
}

}  // namespace

WeightPack read_pack(const Bytes& data, const Manifest& manifest) {
    const Safetensors file(data);
    const json metadata = json::parse(file.metadata(kMetadata), nullptr, /*allow_exceptions=*/false);
    if (!metadata.is_object()) malformed("it is not a JSON object");
    for (const char* key : {"schema", "bundle", "version", "generator", "probe"}) {
        if (!metadata.contains(key)) malformed(std::string("no ") + key);
    }
    if (metadata.size() != 5) malformed("it has an unknown entry");
    if (metadata["schema"] != kSchema) malformed(std::string("schema: not ") + kSchema);
    if (!metadata["bundle"].is_string()) malformed("bundle: no text");
    if (!metadata["generator"].is_string()) malformed("generator: no text");
    if (!metadata["version"].is_number_unsigned()) malformed("version: no natural number");
    if (metadata["version"].get<std::uint64_t>() > kMaxVersion) malformed("version: too large");
    WeightPack pack{metadata["version"], read_probe(metadata["probe"]), {}, {}};
    if (const auto bundle = metadata["bundle"].get<std::string>(); bundle != manifest.id) {
        throw Refused(Reason::wrong_bundle, "the pack is for bundle " + bundle + ", this is " + manifest.id);
    }
    std::vector<Carrier> expected;
    for (const Slot& slot : manifest.slots) {
        for (Carrier& carrier : carriers(slot)) expected.push_back(std::move(carrier));
    }
    const auto tensors = file.tensors();
    check(tensors, expected);
    widen(tensors, manifest.slots, pack);
    return pack;
}

Parameters check_parameters(const std::map<std::string, Tensor>& tensors, const std::vector<Slot>& slots) {
    std::vector<Carrier> expected;
    for (const Slot& slot : slots) expected.push_back({slot.parameter, "F32", slot.shape});
    check(tensors, expected);
    Parameters parameters;
    for (const Slot& slot : slots) parameters.push_back(tensors.at(slot.parameter));
    return parameters;
}

Bytes write_pack(const Parameters& parameters, const Manifest& manifest, std::int64_t version,
                 const Probe& probe) {
    const json metadata = {{"schema", kSchema},
                           {"bundle", manifest.id},
                           {"version", version},
                           {"generator", "bench"},
                           {"probe", probe}};
    std::map<std::string, Tensor> tensors;
    std::vector<std::vector<Bytes>> contents;  // moved about, but their bytes stay where they are
    for (std::size_t k = 0; k < parameters.size(); ++k) {
        const auto& parts = contents.emplace_back(narrowed(manifest.slots[k], parameters[k]));
        const auto names = carriers(manifest.slots[k]);
        for (std::size_t part = 0; part < parts.size(); ++part) {
            const auto& [name, dtype, shape] = names[part];
            tensors[name] = {dtype, shape, parts[part].data(), parts[part].size()};
        }
    }
    return write_safetensors(tensors, kMetadata, metadata.dump());
}

}  // namespace mnet
