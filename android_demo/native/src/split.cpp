// Target `executorch`: `outputs = head(*encode(*inputs), *inputs)`, as `export/targets/executorch.py` splits a
// model.
#include <mutex>

#include "method.h"
#include "mnet/errors.h"
#include "program.h"
#include "slots.h"

namespace mnet {
namespace {

/// What all versions share. ExecuTorch is not re-entrant and `encode` is shared, so one inference runs at a
/// time.
struct Shared {
    Shared(const Bundle& bundle)
        : executable(std::make_shared<Executable>(bundle.file(bundle.manifest().program))),
          inputs(bundle.manifest().inputs) {
        if (!executable->has("encode")) return;
        encode.emplace(executable, "encode");
        if (encode->inputs() != inputs.count()) throw BundleError("encode does not take the model's inputs");
        inputs.bind(*encode, 0);
    }

    std::shared_ptr<const Executable> executable;
    InputBuffers inputs;
    std::optional<Method> encode;
    std::mutex running;
};

/// `encode`, and a `head` of its own.
class SplitSnapshot : public Snapshot {
public:
    SplitSnapshot(std::int64_t version, std::shared_ptr<Shared> shared, Bytes weights,
                  const std::vector<TensorInfo>& outputs)
        : Snapshot(version),
          shared_(std::move(shared)),
          head_(shared_->executable, "head", std::move(weights)) {
        const std::size_t encoded = shared_->encode ? shared_->encode->outputs() : 0;
        if (head_.inputs() != encoded + shared_->inputs.count()) {
            throw BundleError("head does not take what encode gives and the model's inputs");
        }
        for (std::size_t k = 0; k < encoded; ++k) head_.bind(k, shared_->encode->output(k));
        shared_->inputs.bind(head_, encoded);
        head_.check_outputs(outputs);
    }

    void run(const std::vector<Input>& inputs, Outputs& outputs) const override {
        const std::lock_guard<std::mutex> lock(shared_->running);
        shared_->inputs.fill(inputs);
        if (shared_->encode) shared_->encode->execute();
        head_.execute();
        head_.copy_outputs(outputs);
    }

private:
    std::shared_ptr<Shared> shared_;
    mutable Method head_;
};

class SplitProgram : public DeviceProgram {
public:
    explicit SplitProgram(const Bundle& bundle)
        : shared_(std::make_shared<Shared>(bundle)),
          slots_(bundle.manifest().slots),
          outputs_(bundle.manifest().outputs) {
        if (slots_.empty()) throw BundleError("the bundle has no slots");
        template_ = bundle.file(check_byte_slots(bundle.manifest()));
    }

    std::shared_ptr<const Snapshot> bind(std::int64_t version, const Parameters& parameters) override {
        return std::make_shared<SplitSnapshot>(version, shared_, patch(*template_, slots_, parameters),
                                               outputs_);
    }

private:
    std::shared_ptr<Shared> shared_;
    std::vector<Slot> slots_;
    std::vector<TensorInfo> outputs_;
    std::shared_ptr<const Bytes> template_;
};

}  // namespace

std::unique_ptr<DeviceProgram> load_split(const Bundle& bundle) {
    return std::make_unique<SplitProgram>(bundle);
}

}  // namespace mnet
