// `manifest.json`, as `export/format/manifest.py` writes it: canonical JSON whose `id` is the SHA-256 of the same
// bytes without the text `"id":"…",`.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "mnet/bundle.h"
#include "mnet/errors.h"
#include "sha256.h"

namespace mnet {
namespace {

using nlohmann::json;

const char* const kSchema = "mnet.bundle/2.0";
const std::string kKnown = "mnet.bundle/2.";

[[noreturn]] void breaks_schema(const std::string& what) {
    throw BundleError("manifest.json breaks its schema: " + what);
}

// No std::regex: it recurses once for each character.
bool is_made_of(const std::string& text, const char* characters) {
    return !text.empty() && text.find_first_not_of(characters) == std::string::npos;
}

bool is_known(const std::string& schema) {
    return schema.compare(0, kKnown.size(), kKnown) == 0 &&
           is_made_of(schema.substr(kKnown.size()), "0123456789");
}

/// Whether the `id` is right for these bytes.
bool is_sealed(std::string text, const std::string& id) {
    const std::string entry = "\"id\":\"" + id + "\",";
    const auto position = text.find(entry);
    if (position == std::string::npos) return false;
    text.erase(position, entry.size());
    return sha256(text.data(), text.size()) == id;
}

/// Whether the `id` would be right if the schema were ours: then the schema's own entry was changed.
bool is_sealed_but_for_schema(std::string text, const std::string& schema, const std::string& id) {
    const std::string entry = "\"schema\":" + json(schema).dump();
    const auto position = text.find(entry);
    if (position == std::string::npos) return false;
    text.replace(position, entry.size(), std::string("\"schema\":\"") + kSchema + '"');
    return is_sealed(text, id);
}

std::size_t natural(const json& value) {
    // Never `dump`, which recurses: a file may be nested as deep as it is long.
    if (!value.is_number_unsigned()) breaks_schema(std::string(value.type_name()) + " is no natural number");
    return value.get<std::size_t>();
}

std::vector<std::int64_t> shape(const json& value) {
    std::vector<std::int64_t> sizes;
    for (const json& size : value) sizes.push_back(static_cast<std::int64_t>(natural(size)));
    return sizes;
}

DType dtype(const json& value) {
    for (const DType known : {DType::boolean, DType::uint8, DType::int32, DType::int64, DType::float16, DType::float32}) {
        if (value == name(known)) return known;
    }
    breaks_schema("unknown dtype");
}

PackDType pack_dtype(const std::string& name) {
    if (name == "float32") return PackDType::float32;
    if (name == "float16") return PackDType::float16;
    if (name == "int8") return PackDType::int8;
    breaks_schema("unknown pack dtype " + name);
}

/// A path below the bundle's folder, and nothing else.
std::string path(const json& value) {
    const auto text = value.get<std::string>();
    const std::filesystem::path parsed(text);
    const bool leaves =
        std::any_of(parsed.begin(), parsed.end(), [](const auto& part) { return part == ".."; });
    if (leaves || parsed.is_absolute() ||
        parsed.generic_string() != parsed.lexically_normal().generic_string() || !parsed.has_filename() ||
        text.find('\\') != std::string::npos) {
        breaks_schema(text + " is not a plain path inside the bundle");
    }
    return text;
}

File file(const json& value) {
    const auto sha256 = value.at("sha256").get<std::string>();
    const auto role = value.at("role").get<std::string>();
    if (sha256.size() != 64 || !is_made_of(sha256, "0123456789abcdef"))
        breaks_schema(sha256 + " is no SHA-256");
    if (role != "device" && role != "bench") breaks_schema("unknown role " + role);
    return {sha256, natural(value.at("size")), role == "device"};
}

std::vector<TensorInfo> tensors(const json& value) {
    std::vector<TensorInfo> infos;
    for (const json& info : value) {
        const auto dynamic = info.find("dynamic");
        infos.push_back({info.at("name"), dtype(info.at("dtype")), shape(info.at("shape")),
                         dynamic != info.end() && !dynamic->empty()});
    }
    return infos;
}

std::vector<TensorInfo> outputs(const json& value) {
    std::vector<TensorInfo> infos = tensors(value);
    for (std::size_t k = 0; k < infos.size(); ++k) {
        infos[k].scale = value[k].at("scale");
        if (!std::isfinite(infos[k].scale) || infos[k].scale <= 0) breaks_schema(infos[k].name + " has a wrong scale");
    }
    return infos;
}

Slot slot(const json& value) {
    Slot slot;
    slot.parameter = value.at("parameter");
    slot.dtype = dtype(value.at("dtype"));
    slot.shape = shape(value.at("shape"));
    slot.layout = value.at("layout");
    slot.pack_dtype = pack_dtype(value.value("pack_dtype", "float32"));
    if (slot.dtype != DType::float32 || slot.shape.empty() || slot.shape.front() == 0) {
        breaks_schema(slot.parameter + " is no fp32 tensor");
    }
    const json& binding = value.at("binding");
    const auto kind = binding.at("kind").get<std::string>();
    if (kind == "input") {
        slot.kind = Slot::Kind::input;
        slot.index = natural(binding.at("index"));
    } else if (kind == "bytes") {
        slot.kind = Slot::Kind::bytes;
        slot.file = path(binding.at("file"));
        slot.offset = natural(binding.at("offset"));
        slot.size = natural(binding.at("size"));
        if (const auto keys = binding.find("keys"); keys != binding.end()) {
            for (const json& offset : *keys) slot.keys.push_back(natural(offset));
        }
        slot.hashed_offset = slot.offset;
        slot.hashed_size = slot.size;
        if (const auto hashed = binding.find("hashed"); hashed != binding.end() && !hashed->is_null()) {
            slot.hashed_offset = natural(hashed->at("offset"));
            slot.hashed_size = natural(hashed->at("size"));
        }
    } else {
        throw BundleError("slots of kind " + kind + " belong to a runtime that this program does not have");
    }
    return slot;
}

Manifest read(const json& content) {
    Manifest manifest;
    manifest.id = content.at("id");
    manifest.target = content.at("target");
    const json& runtime = content.at("runtime");
    manifest.runtime = runtime.at("name").get<std::string>() + " " + runtime.at("version").get<std::string>();
    manifest.model = content.at("model").at("name");
    manifest.program = path(content.at("model").at("program"));
    for (const auto& [name, entry] : content.at("files").items()) manifest.files[path(name)] = file(entry);
    manifest.inputs = tensors(content.at("inputs"));
    manifest.outputs = outputs(content.at("outputs"));
    if (manifest.outputs.empty()) breaks_schema("no outputs");
    for (const json& entry : content.at("slots")) manifest.slots.push_back(slot(entry));
    manifest.default_weights = path(content.at("default_weights"));
    const json& golden = content.at("golden");
    manifest.golden_samples = path(golden.at("samples"));
    manifest.golden_weights = path(golden.at("weights"));
    manifest.golden_count = natural(golden.at("count"));
    manifest.tolerance = golden.at("tolerance");
    // Without a sample, or with no end to what it may be off by, nothing would be tested.
    if (manifest.golden_count == 0) breaks_schema("no golden samples");
    if (!std::isfinite(manifest.tolerance) || manifest.tolerance <= 0) breaks_schema("a wrong tolerance");
    manifest.baked = path(content.at("bench").at("baked"));
    manifest.swaps = path(content.at("bench").at("swaps"));
    return manifest;
}

/// Null where there is no such text. Not `json::value`, which copies, and recurses.
const std::string* text_of(const json& content, const char* key) {
    const auto found = content.find(key);
    return found == content.end() ? nullptr : found->get_ptr<const std::string*>();
}

std::size_t elements(const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    return count;
}

}  // namespace

std::size_t item_size(DType dtype) {
    switch (dtype) {
        case DType::boolean:
        case DType::uint8:
            return 1;
        case DType::float16:
            return 2;
        case DType::int64:
            return 8;
        default:
            return 4;
    }
}

const char* name(DType dtype) {
    switch (dtype) {
        case DType::boolean:
            return "bool";
        case DType::uint8:
            return "uint8";
        case DType::int32:
            return "int32";
        case DType::int64:
            return "int64";
        case DType::float16:
            return "float16";
        default:
            return "float32";
    }
}

std::size_t TensorInfo::bytes() const { return elements(shape) * item_size(dtype); }

Manifest parse_manifest(const Bytes& raw) {
    const json content = json::parse(raw, nullptr, /*allow_exceptions=*/false);
    if (!content.is_object()) throw IntegrityError(Reason::malformed, "manifest.json is not a JSON object");
    const std::string *schema = text_of(content, "schema"), *id = text_of(content, "id");
    if (!schema) throw IntegrityError(Reason::malformed, "manifest.json names no schema");
    const std::string text(raw.begin(), raw.end()), sealed_by = id ? *id : "";
    if (!is_known(*schema) && !is_sealed_but_for_schema(text, *schema, sealed_by)) {
        throw BundleError("the bundle is of schema " + *schema + "; this program reads " + kSchema);
    }
    if (!is_sealed(text, sealed_by)) {
        throw IntegrityError(Reason::wrong_hash, "manifest.json was changed: it does not match its id");
    }
    try {
        return read(content);
    } catch (const json::exception& error) {
        breaks_schema(error.what());
    }
}

}  // namespace mnet
