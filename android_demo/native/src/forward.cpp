// Target `android`: one `forward` that takes the generated parameters as inputs, as `export/targets/android.py` makes
// it.
#include <algorithm>
#include <mutex>

#include "method.h"
#include "mnet/errors.h"
#include "program.h"
#include "slots.h"

namespace mnet {
namespace {

/// Where each generated parameter goes, and its value.
struct Weights {
    std::vector<std::size_t> indices;
    std::vector<Buffer> values;
};

/// The loaded method. The model's inputs stay bound from call to call, and so do weights until others are
/// asked for.
class Forward {
public:
    Forward(std::shared_ptr<const Bytes> file, const Manifest& manifest, const std::vector<Slot>& slots)
        : inputs_(manifest.inputs), method_(std::make_shared<Executable>(std::move(file)), "forward") {
        std::vector<std::size_t> indices;
        for (const Slot& slot : slots) indices.push_back(slot.index);
        std::sort(indices.begin(), indices.end());
        bool fits = method_.inputs() == inputs_.count() + slots.size();
        for (std::size_t k = 0; k < indices.size(); ++k) fits &= indices[k] == inputs_.count() + k;
        if (!fits) throw BundleError("forward does not take the model's inputs and then those of the slots");
        inputs_.bind(method_, 0);
        method_.check_outputs(manifest.outputs);
    }

    void run(const std::shared_ptr<const Weights>& weights, const std::vector<Input>& inputs,
             Outputs& outputs) {
        const std::lock_guard<std::mutex> lock(running_);  // ExecuTorch is not re-entrant
        inputs_.fill(inputs);
        if (bound_ != weights) {
            bound_ = nullptr;
            for (std::size_t k = 0; k < weights->values.size(); ++k) {
                method_.bind(weights->indices[k], weights->values[k].value());
            }
            bound_ = weights;
        }
        method_.execute();
        method_.copy_outputs(outputs);
    }

private:
    InputBuffers inputs_;
    Method method_;
    std::mutex running_;
    std::shared_ptr<const Weights> bound_;
};

class ForwardSnapshot : public Snapshot {
public:
    ForwardSnapshot(std::int64_t version, std::shared_ptr<Forward> forward,
                    std::shared_ptr<const Weights> weights)
        : Snapshot(version), forward_(std::move(forward)), weights_(std::move(weights)) {}

    void run(const std::vector<Input>& inputs, Outputs& outputs) const override {
        forward_->run(weights_, inputs, outputs);
    }

private:
    std::shared_ptr<Forward> forward_;
    std::shared_ptr<const Weights> weights_;
};

class ForwardProgram : public DeviceProgram {
public:
    ForwardProgram(std::shared_ptr<const Bytes> file, const Manifest& manifest,
                   const std::vector<Slot>& slots)
        : forward_(std::make_shared<Forward>(std::move(file), manifest, slots)), slots_(slots) {}

    std::shared_ptr<const Snapshot> bind(std::int64_t version, const Parameters& parameters) override {
        auto weights = std::make_shared<Weights>();
        for (std::size_t k = 0; k < slots_.size(); ++k) {
            weights->indices.push_back(slots_[k].index);
            weights->values.emplace_back(slots_[k].dtype, arranged_shape(slots_[k]));
            store(slots_[k], parameters[k].data, weights->values.back().data());
        }
        return std::make_shared<ForwardSnapshot>(version, forward_, std::move(weights));
    }

private:
    std::shared_ptr<Forward> forward_;
    std::vector<Slot> slots_;
};

/// The generated parameters are constants of the program: each version is a patched copy of it, loaded by itself.
class PatchedProgram : public DeviceProgram {
public:
    explicit PatchedProgram(const Bundle& bundle) : manifest_(bundle.manifest()) {
        if (check_byte_slots(manifest_) != manifest_.program)
            throw BundleError("the slots are not in the program");
        template_ = bundle.file(manifest_.program);
    }

    std::shared_ptr<const Snapshot> bind(std::int64_t version, const Parameters& parameters) override {
        auto file = std::make_shared<const Bytes>(patch(*template_, manifest_.slots, parameters));
        return load_forward(std::move(file), manifest_, {})->bind(version, {});
    }

private:
    Manifest manifest_;
    std::shared_ptr<const Bytes> template_;
};

}  // namespace

std::unique_ptr<DeviceProgram> load_patched(const Bundle& bundle) {
    return std::make_unique<PatchedProgram>(bundle);
}

std::unique_ptr<DeviceProgram> load_forward(std::shared_ptr<const Bytes> file, const Manifest& manifest,
                                            const std::vector<Slot>& slots) {
    return std::make_unique<ForwardProgram>(std::move(file), manifest, slots);
}

}  // namespace mnet
