// stale_cache BUNDLE OTHER.ptd: XNNPACK's weight cache, on by default as in the presets for phones, gives a
// head the packed weights of an older one that still lives. First ExecuTorch's own Module falls for it; then
// Session must not.
//
// BUNDLE is for target executorch; OTHER.ptd holds the weights of its first stored swap.
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/platform/runtime.h>

#include <cstdio>
#include <string>
#include <vector>

#include "golden.h"
#include "mnet/session.h"
#include "series.h"

namespace {

using namespace executorch::extension;
using namespace executorch::runtime;

void switch_cache_on() {
    runtime_init();
    BackendOptions<1> options;
    const bool set = options.set_option("weight_cache_enabled", true) == Error::Ok &&
                     executorch::runtime::set_option("XnnpackBackend", options.view()) == Error::Ok;
    if (!set) std::abort();
}

std::vector<EValue> call(Module& module, const std::string& method, const std::vector<EValue>& inputs) {
    auto outputs = module.execute(method, inputs);
    if (!outputs.ok()) std::abort();
    return *outputs;
}

/// What a module gives for the first golden sample.
mnet::Outputs run(Module& module, const mnet::Manifest& manifest, const mnet::Sample& sample) {
    std::vector<TensorPtr> tensors;
    std::vector<EValue> inputs, values;
    for (std::size_t k = 0; k < sample.inputs.size(); ++k) {
        const auto& info = manifest.inputs[k];
        tensors.push_back(from_blob(const_cast<void*>(sample.inputs[k].data),
                                    {info.shape.begin(), info.shape.end()},
                                    info.dtype == mnet::DType::float32 ? executorch::aten::ScalarType::Float
                                                                       : executorch::aten::ScalarType::Long));
        inputs.emplace_back(tensors.back());
    }
    if (module.method_names()->count("encode")) values = call(module, "encode", inputs);
    values.insert(values.end(), inputs.begin(), inputs.end());
    const auto output = call(module, "head", values).front().toTensor();
    const float* data = output.const_data_ptr<float>();
    return {{data, data + output.numel()}};
}

}  // namespace

int main(int, char** arguments) {
    switch_cache_on();
    const std::string folder = arguments[1];
    const auto bundle = mnet::Bundle::load(folder);
    const mnet::Manifest& manifest = bundle.manifest();
    const mnet::Golden golden(bundle);
    const mnet::SwapSeries series(bundle);
    const mnet::Sample& sample = golden.samples.front();

    Module old_module(folder + "/" + manifest.program, folder + "/" + manifest.slots.front().file);
    const auto old_outputs = run(old_module, manifest, sample);
    Module new_module(folder + "/" + manifest.program, arguments[2]);
    const auto new_outputs = run(new_module, manifest, sample);
    const bool module_is_stale = old_outputs == new_outputs;

    mnet::Session session(bundle);
    const auto kept = session.live();
    session.swap(series.pack(0, 1));
    mnet::Outputs swapped;
    session.run(sample.inputs, swapped);
    const auto distance = mnet::distance(mnet::probe(swapped, manifest.outputs), series.expected(0));
    const bool session_is_right = distance <= manifest.tolerance;
    std::printf("{\"module_is_stale\":%s,\"session_is_right\":%s}\n", module_is_stale ? "true" : "false",
                session_is_right ? "true" : "false");
}
