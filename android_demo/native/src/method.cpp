#include "method.h"

#include <executorch/extension/threadpool/threadpool_guard.h>
#include <executorch/runtime/backend/backend_options_map.h>
#include <executorch/runtime/platform/runtime.h>

#include <cstdio>
#include <cstring>

#include "mnet/errors.h"

namespace mnet {
namespace {

// A second thread costs a compact model more than it saves; the guard is for the thread that it is made on.
using OneThread = ete::threadpool::NoThreadPoolGuard;

executorch::aten::ScalarType scalar_type(DType dtype) {
    using executorch::aten::ScalarType;
    switch (dtype) {
        case DType::boolean:
            return ScalarType::Bool;
        case DType::uint8:
            return ScalarType::Byte;
        case DType::int32:
            return ScalarType::Int;
        case DType::int64:
            return ScalarType::Long;
        case DType::float16:
            return ScalarType::Half;
        default:
            return ScalarType::Float;
    }
}

std::string code(et::Error error) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%x", static_cast<unsigned>(error));
    return std::string("ExecuTorch error ") + text;
}

/// The options that each method is loaded with.
const et::LoadBackendOptionsMap* load_options() {
    // XNNPACK's weight cache finds packed weights again by name: while an old head lives, a new one would get
    // the old weights. It is off in the wheel and on in the presets for phones. The runtime takes a bool, not
    // an int.
    static et::BackendOptions<1> options;
    static const et::LoadBackendOptionsMap map = [] {
        et::LoadBackendOptionsMap map;
        if (options.set_option("weight_cache_enabled", false) != et::Error::Ok ||
            map.set_options("XnnpackBackend", options.view()) != et::Error::Ok) {
            throw std::runtime_error("XNNPACK's weight cache cannot be switched off");
        }
        return map;
    }();
    return &map;
}

}  // namespace

Executable::Executable(std::shared_ptr<const Bytes> file)
    : file_(std::move(file)), loader_(file_->data(), file_->size()) {
    et::runtime_init();
    auto program = et::Program::load(&loader_);
    if (!program.ok()) throw BundleError("ExecuTorch cannot load the program: " + code(program.error()));
    program_.emplace(std::move(*program));
}

Method::Method(std::shared_ptr<const Executable> executable, const char* name, Bytes weights)
    : executable_(std::move(executable)), name_(name), weights_(std::move(weights)) {
    const OneThread guard;
    const auto failed = [name](et::Error error) {
        return BundleError(std::string("ExecuTorch cannot load method ") + name + ": " + code(error));
    };
    if (!weights_.empty()) {
        loader_.emplace(weights_.data(), weights_.size());
        auto data_map = ete::FlatTensorDataMap::load(&*loader_);
        if (!data_map.ok()) throw failed(data_map.error());
        data_map_.emplace(std::move(*data_map));
    }
    const auto meta = executable_->program().method_meta(name);
    if (!meta.ok()) throw failed(meta.error());
    for (std::size_t k = 0; k < meta->num_memory_planned_buffers(); ++k) {
        arenas_.emplace_back(static_cast<std::size_t>(meta->memory_planned_buffer_size(k).get()));
    }
    for (Bytes& arena : arenas_) spans_.emplace_back(arena.data(), arena.size());
    planned_.emplace(et::Span<et::Span<std::uint8_t>>(spans_.data(), spans_.size()));
    memory_.emplace(&method_memory_, &*planned_, &temporary_memory_);
    auto method = executable_->program().load_method(name, &*memory_, nullptr,
                                                     data_map_ ? &*data_map_ : nullptr, load_options());
    if (!method.ok()) throw failed(method.error());
    method_.emplace(std::move(*method));
}

void Method::bind(std::size_t index, const et::EValue& input) {
    if (const auto error = method_->set_input(input, index); error != et::Error::Ok) {
        throw BundleError("input " + std::to_string(index) + " of method " + name_ +
                          " does not fit: " + code(error));
    }
}

void Method::execute() {
    const OneThread guard;
    if (const auto error = method_->execute(); error != et::Error::Ok) {
        throw std::runtime_error("method " + name_ + " does not run: " + code(error));
    }
}

void Method::copy_outputs(Outputs& outputs) const {
    outputs.resize(this->outputs());
    for (std::size_t k = 0; k < outputs.size(); ++k) {
        const auto& tensor = output(k).toTensor();
        const float* values = tensor.const_data_ptr<float>();
        outputs[k].assign(values, values + tensor.numel());
    }
}

void Method::check_outputs(const std::vector<TensorInfo>& expected) const {
    bool fits = outputs() == expected.size();
    for (std::size_t k = 0; fits && k < expected.size(); ++k) {
        fits = output(k).isTensor() && output(k).toTensor().nbytes() == expected[k].bytes() &&
               expected[k].dtype == DType::float32 &&
               output(k).toTensor().scalar_type() == executorch::aten::ScalarType::Float;
    }
    if (!fits) throw BundleError("method " + name_ + " does not give the outputs that the manifest names");
}

Buffer::Buffer(DType dtype, const std::vector<std::int64_t>& shape)
    : tensor_(ete::zeros({shape.begin(), shape.end()}, scalar_type(dtype))) {}

InputBuffers::InputBuffers(const std::vector<TensorInfo>& infos) {
    for (const TensorInfo& info : infos) buffers_.emplace_back(info.dtype, info.shape);
}

void InputBuffers::bind(Method& method, std::size_t first) const {
    for (std::size_t k = 0; k < buffers_.size(); ++k) method.bind(first + k, buffers_[k].value());
}

void InputBuffers::fill(const std::vector<Input>& inputs) {
    if (inputs.size() != buffers_.size()) {
        throw std::invalid_argument("the model takes " + std::to_string(buffers_.size()) + " inputs");
    }
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        if (inputs[k].bytes != buffers_[k].size()) {
            throw std::invalid_argument("input " + std::to_string(k) + " takes " +
                                        std::to_string(buffers_[k].size()) + " bytes, not " +
                                        std::to_string(inputs[k].bytes));
        }
    }
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        std::memcpy(buffers_[k].data(), inputs[k].data, inputs[k].bytes);
    }
}

}  // namespace mnet
