// Target `executorch`: `outputs = head(*encode(*inputs), *inputs)`, as `export/executorch_split.py` splits a
// model.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <mutex>
#include <string_view>

#include "method.h"
#include "mnet/errors.h"
#include "program.h"

namespace mnet {
namespace {

/// PyTorch's layout, one letter a dimension.
std::string_view pytorch_layout(std::size_t dimensions) {
    constexpr std::string_view kLayouts[] = {"", "O", "OI", "OIW", "OIHW", "OIDHW"};
    if (dimensions >= std::size(kLayouts)) throw BundleError("a slot has more than five dimensions");
    return kLayouts[dimensions];
}

/// Writes a parameter, which lies in PyTorch's layout, in the one that the slot wants.
void store(const Slot& slot, const std::uint8_t* value, std::uint8_t* out) {
    const std::string_view own = pytorch_layout(slot.shape.size());
    if (slot.layout == own) {
        std::memcpy(out, value, slot.size);
        return;
    }
    const std::size_t item = item_size(slot.dtype), dimensions = own.size();
    std::vector<std::size_t> lengths(dimensions), strides(dimensions), position(dimensions);
    for (std::size_t k = 0; k < dimensions; ++k) {
        const std::size_t from = own.find(slot.layout[k]);
        lengths[k] = static_cast<std::size_t>(slot.shape[from]);
        strides[k] = item;
        for (std::size_t later = from + 1; later < dimensions; ++later) {
            strides[k] *= static_cast<std::size_t>(slot.shape[later]);
        }
    }
    const std::uint8_t* from = value;
    for (const std::uint8_t* end = out + slot.size; out != end; out += item) {
        std::memcpy(out, from, item);
        for (std::size_t k = dimensions; k-- > 0;) {  // the next position, last dimension first
            from += strides[k];
            if (++position[k] < lengths[k]) break;
            from -= strides[k] * lengths[k];
            position[k] = 0;
        }
    }
}

/// Throws BundleError unless the slot is bytes of `file` and exactly as large as its parameter: the runtime
/// would notice neither.
void check(const Slot& slot, const std::string& file, std::size_t file_size) {
    const std::string_view own = pytorch_layout(slot.shape.size());
    const TensorInfo parameter{slot.parameter, slot.dtype, slot.shape};
    if (slot.kind != Slot::Kind::bytes || slot.file != file || slot.size != parameter.bytes() ||
        slot.offset > file_size || slot.size > file_size - slot.offset ||
        !std::is_permutation(slot.layout.begin(), slot.layout.end(), own.begin(), own.end())) {
        throw BundleError(slot.parameter + " does not fit its slot in " + file);
    }
}

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
        template_ = bundle.file(slots_.front().file);
        for (const Slot& slot : slots_) check(slot, slots_.front().file, template_->size());
    }

    std::shared_ptr<const Snapshot> bind(std::int64_t version, const Parameters& parameters) override {
        Bytes weights = *template_;
        for (std::size_t k = 0; k < slots_.size(); ++k) {
            store(slots_[k], parameters[k].data, weights.data() + slots_[k].offset);
        }
        return std::make_shared<SplitSnapshot>(version, shared_, std::move(weights), outputs_);
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
