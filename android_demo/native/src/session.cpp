#include "mnet/session.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <stdexcept>

#include "golden.h"
#include "pack.h"
#include "probe.h"
#include "program.h"

namespace mnet {
namespace {

using Clock = std::chrono::steady_clock;

std::unique_ptr<DeviceProgram> load_program(const Bundle& bundle) {
    const Manifest& manifest = bundle.manifest();
    for (const TensorInfo& info : manifest.outputs) {
        if (info.dtype == DType::float32 && !info.dynamic) continue;
        throw BundleError("output " + info.name + " is " + name(info.dtype) + (info.dynamic ? " of no fixed shape" : "") +
                          "; this program gives float32 outputs of a fixed shape");
    }
    for (const TensorInfo& info : manifest.inputs) {
        if (info.dynamic) throw BundleError("input " + info.name + " has no fixed shape; this program needs one");
    }
    if (manifest.target == "executorch") return load_split(bundle);
    const bool by_bytes = !manifest.slots.empty() && manifest.slots.front().kind == Slot::Kind::bytes;
    if (manifest.target == "android" && by_bytes) return load_patched(bundle);
    if (manifest.target == "android")
        return load_forward(bundle.file(manifest.program), manifest, manifest.slots);
    throw BundleError("the bundle is for target " + manifest.target +
                      "; this program runs android and executorch");
}

std::shared_ptr<const Snapshot> bind_defaults(DeviceProgram& program, const Bundle& bundle) try {
    const Manifest& manifest = bundle.manifest();
    const auto file = bundle.file(manifest.default_weights);
    return program.bind(0, check_parameters(Safetensors(*file).tensors(), manifest.slots));
} catch (const Refused& error) {
    throw BundleError(bundle.manifest().default_weights + " does not fit the slots: " + error.what());
}

/// Catches a runtime that serves old weights: it must give what eager PyTorch gave for this pack.
void self_test(const Snapshot& snapshot, const Sample& sample, const Probe& expected, const Manifest& manifest) {
    Outputs outputs;
    try {
        snapshot.run(sample.inputs, outputs);
    } catch (const std::runtime_error& error) {
        throw Refused(Reason::self_test_failed, std::string("the model does not run: ") + error.what());
    }
    for (const auto& output : outputs) {
        if (!std::all_of(output.begin(), output.end(), [](float value) { return std::isfinite(value); })) {
            throw Refused(Reason::self_test_failed, "an output is not finite under the new weights");
        }
    }
    if (!(distance(probe(outputs, manifest.outputs), expected) <= manifest.tolerance)) {
        throw Refused(Reason::self_test_failed, "the outputs are not those of the pack's weights");
    }
}

/// A snapshot under the name that it was loaded by.
class Named : public Snapshot {
public:
    Named(std::string name, std::shared_ptr<const Snapshot> snapshot)
        : Snapshot(snapshot->version, std::move(name)), snapshot_(std::move(snapshot)) {}

    void run(const std::vector<Input>& inputs, Outputs& outputs) const override { snapshot_->run(inputs, outputs); }

private:
    std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace

struct Session::State {
    explicit State(const Bundle& bundle)
        : manifest(bundle.manifest()),
          golden(bundle),
          program(load_program(bundle)),
          live(bind_defaults(*program, bundle)),
          swapped(live) {}

    /// A snapshot of a pack that passed all checks, with the times that they took. Throws Refused.
    std::shared_ptr<const Snapshot> tested(const Bytes& data, std::int64_t newer_than, SwapTimes& times) const;

    const Manifest manifest;
    const Golden golden;
    const std::unique_ptr<DeviceProgram> program;
    std::mutex swapping;    // held by a swap from its first check to its end
    std::mutex publishing;  // held for a moment, while `swapped`, `resident` and `live` change
    std::shared_ptr<const Snapshot> live;  // only by std::atomic_load and std::atomic_store
    std::shared_ptr<const Snapshot> swapped;
    std::map<std::string, std::shared_ptr<const Snapshot>> resident;
};

Session::Session(const Bundle& bundle) : state_(std::make_unique<State>(bundle)) {
    Outputs outputs;
    for (const Sample& sample : state_->golden.samples) {
        run(sample.inputs, outputs);
        const double error = largest_error(outputs, sample.by_default, state_->manifest.outputs);
        if (!(error <= state_->manifest.tolerance)) {
            throw IntegrityError(Reason::self_test_failed, "outputs differ from the golden ones");
        }
    }
}

Session::~Session() = default;

std::shared_ptr<const Snapshot> Session::live() const { return std::atomic_load(&state_->live); }

std::shared_ptr<const Snapshot> Session::State::tested(const Bytes& data, std::int64_t newer_than,
                                                       SwapTimes& times) const {
    const auto started = Clock::now();
    const WeightPack pack = read_pack(data, manifest);
    if (pack.version <= newer_than) {
        throw Refused(Reason::stale_version, "the pack is version " + std::to_string(pack.version) + ", " +
                                                 std::to_string(newer_than) + " is being served");
    }
    const auto verified = Clock::now();
    auto snapshot = program->bind(pack.version, pack.parameters);
    const auto written = Clock::now();
    self_test(*snapshot, golden.samples.front(), pack.probe, manifest);
    times = {verified - started, written - verified, Clock::now() - written, {}};
    return snapshot;
}

SwapTimes Session::swap(const Bytes& data) {
    const std::lock_guard<std::mutex> lock(state_->swapping);
    SwapTimes times;
    const auto snapshot = state_->tested(data, state_->swapped->version, times);
    const auto tested = Clock::now();
    const std::lock_guard<std::mutex> moment(state_->publishing);
    state_->swapped = snapshot;
    std::atomic_store(&state_->live, snapshot);
    times.publish = Clock::now() - tested;
    return times;
}

SwapTimes Session::load(const std::string& name, const Bytes& data) {
    if (name.empty()) throw std::invalid_argument("resident weights need a name");
    const std::lock_guard<std::mutex> lock(state_->swapping);
    std::int64_t newer_than = -1;
    {
        const std::lock_guard<std::mutex> moment(state_->publishing);
        if (const auto former = state_->resident.find(name); former != state_->resident.end()) {
            newer_than = former->second->version;
        }
    }
    SwapTimes times;
    const auto snapshot = state_->tested(data, newer_than, times);
    const auto tested = Clock::now();
    const std::lock_guard<std::mutex> moment(state_->publishing);
    state_->resident[name] = std::make_shared<Named>(name, snapshot);
    times.publish = Clock::now() - tested;
    return times;
}

void Session::use(const std::string& name) {
    const std::lock_guard<std::mutex> moment(state_->publishing);
    if (name.empty()) {
        std::atomic_store(&state_->live, state_->swapped);
        return;
    }
    const auto found = state_->resident.find(name);
    if (found == state_->resident.end()) throw std::out_of_range("no weights are loaded as '" + name + "'");
    std::atomic_store(&state_->live, found->second);
}

void Session::unload(const std::string& name) {
    const std::lock_guard<std::mutex> moment(state_->publishing);
    state_->resident.erase(name);
}

std::shared_ptr<const Snapshot> open_baked(const Bundle& bundle) {
    const Manifest& manifest = bundle.manifest();
    return load_forward(bundle.file(manifest.baked), manifest, {})->bind(0, {});
}

}  // namespace mnet
