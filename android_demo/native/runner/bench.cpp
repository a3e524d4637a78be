#include "bench.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "golden.h"
#include "mnet/session.h"
#include "pack.h"
#include "probe.h"
#include "program.h"
#include "series.h"
#include "sha256.h"

namespace mnet {
namespace {

using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;
using nlohmann::ordered_json;

constexpr int kRoundsPerSwap = 50;
constexpr int kWarmUp = 200;
// Where the allocator happens to put a model moves its time by some per cent: load everything again this often.
constexpr int kSwapsPerLoading = 20;
// What one would do instead is timed after every so many swaps: it leaves the caches cold.
constexpr int kSwapsPerAlternative = 4;

double since(Clock::time_point start) { return Microseconds(Clock::now() - start).count(); }

/// The time below which `share` of the calls stay.
double percentile(std::vector<double> times, double share) {
    const auto place = times.begin() + static_cast<std::ptrdiff_t>(share * double(times.size() - 1) + 0.5);
    std::nth_element(times.begin(), place, times.end());
    return *place;
}

double rounded(double value, int digits) {
    const double scale = std::pow(10, digits);
    return std::round(value * scale) / scale;
}

ordered_json percentiles(const std::vector<double>& times) {
    return {{"p50_us", rounded(percentile(times, 0.5), 2)},
            {"p90_us", rounded(percentile(times, 0.9), 2)},
            {"p99_us", rounded(percentile(times, 0.99), 2)}};
}

/// Who takes part in the timing of inference.
enum { kBaked, kControl, kSwappable, kContenders };

struct Loaded {
    explicit Loaded(const Bundle& bundle)
        : session(bundle), baked(open_baked(bundle)), control(open_baked(bundle)) {}

    Session session;
    std::shared_ptr<const Snapshot> baked, control;
};

/// Raw figures: µs, one entry a call.
struct Times {
    std::map<std::string, std::vector<double>> load, swap, effect;
    std::array<std::vector<double>, kContenders> inference;
};

/// Runs all on the same inputs, one after the other; who goes first, and finds a colder cache, goes round.
void time_inference(Loaded& loaded, const Golden& golden, int rounds, Times& times) {
    Outputs outputs;
    for (int round = 0; round < rounds; ++round) {
        const auto& inputs = golden.samples[std::size_t(round) % golden.samples.size()].inputs;
        for (int turn = 0; turn < kContenders; ++turn) {
            const int who = (round + turn) % kContenders;
            const auto start = Clock::now();
            if (who == kSwappable) {
                loaded.session.run(inputs, outputs);
            } else {
                (who == kBaked ? loaded.baked : loaded.control)->run(inputs, outputs);
            }
            times.inference[std::size_t(who)].push_back(since(start));
        }
    }
}

/// Opens the bundle as an app does at its start, and infers once.
void time_loading(const std::filesystem::path& folder, const Golden& golden, Times& times) {
    Outputs outputs;
    auto start = Clock::now();
    const Bundle bundle = Bundle::load(folder, Bundle::Scope::device);
    times.load["check_files"].push_back(since(start));
    start = Clock::now();
    const Session session(bundle);
    times.load["load_and_self_test"].push_back(since(start));
    start = Clock::now();
    session.run(golden.samples.front().inputs, outputs);
    times.load["next_inference"].push_back(since(start));
}

/// What one would do instead of a swap: from new bytes in memory to the first answer under them, as
/// `Bench.effects_s` of `export/bench/latency.py` has it.
void time_alternatives(const Bundle& bundle, const Bytes& pack, const std::vector<Input>& inputs,
                       Times& times) {
    const Manifest& manifest = bundle.manifest();
    Outputs outputs;
    const auto tested_and_run = [&](const Snapshot& snapshot) {
        snapshot.run(inputs, outputs);
        snapshot.run(inputs, outputs);
    };
    auto start = Clock::now();
    const auto whole = bundle.file(manifest.baked);
    if (sha256(whole->data(), whole->size()) != manifest.files.at(manifest.baked).sha256) {
        throw IntegrityError(Reason::wrong_hash, manifest.baked + " was changed");
    }
    tested_and_run(*load_forward(whole, manifest, {})->bind(0, {}));
    times.effect["whole_model"].push_back(since(start));

    if (manifest.target != "executorch") return;  // elsewhere no weights lie next to the program
    start = Clock::now();
    const WeightPack read = read_pack(pack, manifest);
    tested_and_run(*load_split(bundle)->bind(read.version, read.parameters));
    times.effect["reload"].push_back(since(start));
}

void time_swap(Session& session, const Bytes& pack, const std::vector<Input>& inputs, Times& times) {
    const SwapTimes swap = session.swap(pack);
    times.swap["verify"].push_back(swap.verify.count());
    times.swap["write"].push_back(swap.write.count());
    times.swap["self_test"].push_back(swap.self_test.count());
    times.swap["publish"].push_back(swap.publish.count());
    times.swap["total"].push_back(swap.total().count());
    Outputs outputs;
    const auto start = Clock::now();
    session.run(inputs, outputs);
    times.effect["swap"].push_back(swap.total().count() + since(start));
}

ordered_json report(const Bundle& bundle, const Times& times) {
    const Manifest& manifest = bundle.manifest();
    std::size_t generated = 0;
    for (const Slot& slot : manifest.slots)
        generated += TensorInfo{slot.parameter, slot.dtype, slot.shape}.bytes();
    const double baked = percentile(times.inference[kBaked], 0.5);
    const double control = percentile(times.inference[kControl], 0.5);
    const double swappable = percentile(times.inference[kSwappable], 0.5);
    ordered_json load, parts, effect;
    for (const auto& [name, values] : times.load)
        load[name + "_p50_us"] = rounded(percentile(values, 0.5), 1);
    for (const auto& [name, values] : times.effect)
        effect[name + "_p50_us"] = rounded(percentile(values, 0.5), 2);
    for (const auto& [name, values] : times.swap) {
        if (name != "total") parts[name + "_p50_us"] = rounded(percentile(values, 0.5), 2);
    }
    ordered_json swap = percentiles(times.swap.at("total"));
    swap["count"] = times.swap.at("total").size();
    swap["parts"] = parts;
    return {{"runtime", manifest.runtime + ", native"},
            {"target", manifest.target},
            {"model", manifest.model},
            {"generated_bytes", generated},
            {"program_bytes", manifest.files.at(manifest.program).size},
            {"baked_program_bytes", manifest.files.at(manifest.baked).size},
            {"load", load},
            {"inference",
             {{"baked_p50_us", rounded(baked, 2)},
              {"swappable_p50_us", rounded(swappable, 2)},
              {"ratio_p50", rounded(swappable / baked, 4)},
              {"control_ratio_p50", rounded(control / baked, 4)},
              {"baked", percentiles(times.inference[kBaked])},
              {"swappable", percentiles(times.inference[kSwappable])}}},
            {"swap", swap},
            {"time_to_effect", effect}};
}

}  // namespace

ordered_json bench(const std::filesystem::path& folder, int swaps) {
    const Bundle bundle = Bundle::load(folder);
    const Golden golden(bundle);
    const SwapSeries series(bundle);
    const auto& inputs = golden.samples.front().inputs;
    Times times, warm_up;
    std::unique_ptr<Loaded> loaded;
    Outputs outputs;
    Probe before{};
    const auto& infos = bundle.manifest().outputs;
    double error = 0, change = std::numeric_limits<double>::infinity();
    for (int swap = 0; swap < swaps; ++swap) {
        if (swap % kSwapsPerLoading == 0) {
            time_loading(folder, golden, times);
            loaded = std::make_unique<Loaded>(bundle);
            loaded->session.run(inputs, outputs);
            before = probe(outputs, infos);
            time_inference(*loaded, golden, kWarmUp, warm_up);
        }
        const Bytes pack = series.pack(swap, swap + 1);
        time_swap(loaded->session, pack, inputs, times);
        if (swap % kSwapsPerAlternative == 0) time_alternatives(bundle, pack, inputs, times);
        time_inference(*loaded, golden, kRoundsPerSwap, times);
        loaded->session.run(inputs, outputs);
        const Probe after = probe(outputs, infos);
        error = std::max(error, distance(after, series.expected(swap)));
        change = std::min(change, distance(after, before));
        before = after;
    }
    ordered_json figures = report(bundle, times);
    figures["max_error"] = error;
    figures["output_change"] = change;
    return figures;
}

}  // namespace mnet
