#include "memory.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "golden.h"
#include "mnet/session.h"
#include "series.h"

namespace mnet {
namespace {

constexpr int kInstances = 4;
constexpr int kSwaps = 20;

/// A line such as `Rss:  1692 kB`, in bytes.
std::int64_t field(const char* path, const std::string& name) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        if (line.rfind(name + ":", 0) == 0) return 1024 * std::stoll(line.substr(name.size() + 1));
    }
    throw std::runtime_error(std::string(path) + " does not tell " + name);
}

std::int64_t resident() {
#ifdef __GLIBC__
    malloc_trim(0);  // what the allocator holds back for later is no instance's
#endif
    return field("/proc/self/smaps_rollup", "Rss");
}

}  // namespace

nlohmann::ordered_json memory(const std::filesystem::path& folder) {
    const Bundle bundle = Bundle::load(folder);
    const Golden golden(bundle);
    const SwapSeries series(bundle);
    const auto& inputs = golden.samples.front().inputs;
    std::vector<Bytes> packs;
    for (int swap = 0; swap < kSwaps; ++swap) packs.push_back(series.pack(swap, swap + 1));

    Outputs outputs;
    std::vector<std::unique_ptr<Session>> sessions;
    std::vector<std::shared_ptr<const Snapshot>> constants;
    const auto open = [&](int count) {
        for (int k = 0; k < count; ++k) {
            sessions.push_back(std::make_unique<Session>(bundle));
            sessions.back()->run(inputs, outputs);
        }
        return resident();
    };
    const auto open_constant = [&](int count) {
        for (int k = 0; k < count; ++k) {
            constants.push_back(open_baked(bundle));
            constants.back()->run(inputs, outputs);
        }
        return resident();
    };

    const auto before = resident();
    std::ofstream("/proc/self/clear_refs") << "5" << std::flush;  // the peak counts from here
    const auto first = open(1);
    for (const Bytes& pack : packs) {
        sessions.front()->swap(pack);
        sessions.front()->run(inputs, outputs);
    }
    const auto peak = field("/proc/self/status", "VmHWM");
    const auto swapped = resident();
    const auto more = open(kInstances);
    const auto other = open_constant(1);  // may be the first to touch some of the runtime's code
    const auto constant = open_constant(kInstances);
    return {{"first_instance", first - before},
            {"peak", std::max({peak, first, swapped}) - before},
            {"further_instance", (more - swapped) / kInstances},
            {"constant_instance", (constant - other) / kInstances}};
}

}  // namespace mnet
