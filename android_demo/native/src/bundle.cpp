#include "mnet/bundle.h"

#include <fstream>
#include <iterator>
#include <set>

#include "mnet/errors.h"
#include "sha256.h"

namespace mnet {
namespace {

namespace fs = std::filesystem;

const char* const kManifest = "manifest.json";

Bytes read(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    Bytes content{std::istreambuf_iterator<char>(stream), {}};
    if (!stream) throw BundleError(path.string() + " cannot be read");
    return content;
}

/// The path of everything below `folder` that is no folder, but the manifest.
std::set<std::string> list(const fs::path& folder) {
    std::set<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        if (entry.is_directory() && !entry.is_symlink()) continue;
        found.insert(entry.path().lexically_relative(folder).generic_string());
    }
    found.erase(kManifest);
    return found;
}

Bytes read_checked(const fs::path& path, const File& expected) {
    if (!fs::is_regular_file(fs::symlink_status(path))) {
        throw IntegrityError(Reason::malformed, path.string() + " is not a plain file");
    }
    if (const auto size = fs::file_size(path); size != expected.size) {
        throw IntegrityError(Reason::wrong_size, path.string() + " has " + std::to_string(size) +
                                                     " bytes, not " + std::to_string(expected.size));
    }
    Bytes content = read(path);
    if (sha256(content.data(), content.size()) != expected.sha256) {
        throw IntegrityError(Reason::wrong_hash, path.string() + " was changed");
    }
    return content;
}

}  // namespace

Bundle Bundle::load(const fs::path& folder, Scope scope) try {
    if (!fs::is_directory(folder)) {
        throw BundleError("no bundle at " + folder.string() +
                          ": there is no such folder; `mnet export` makes one");
    }
    if (!fs::is_regular_file(folder / kManifest)) {
        throw BundleError(folder.string() + " is not a bundle: it has no readable " + kManifest);
    }
    Bundle bundle(parse_manifest(read(folder / kManifest)));
    const std::set<std::string> found = list(folder);
    for (const auto& [name, file] : bundle.manifest_.files) {
        if (!found.count(name) && (file.for_device || scope == Scope::whole)) {
            throw IntegrityError(Reason::missing_file, (folder / name).string() + " is missing");
        }
    }
    for (const std::string& name : found) {
        if (!bundle.manifest_.files.count(name)) {
            throw IntegrityError(Reason::extra_file, (folder / name).string() + " is not part of the bundle");
        }
    }
    for (const auto& [name, file] : bundle.manifest_.files) {
        if (!file.for_device && scope == Scope::device) continue;
        bundle.files_[name] = std::make_shared<const Bytes>(read_checked(folder / name, file));
    }
    return bundle;
} catch (const fs::filesystem_error& error) {
    throw BundleError(error.what());
}

std::shared_ptr<const Bytes> Bundle::file(const std::string& name) const {
    const auto found = files_.find(name);
    if (found == files_.end()) throw BundleError("the bundle was opened without a file " + name);
    return found->second;
}

}  // namespace mnet
