#include "verify.h"

#include <algorithm>
#include <limits>

#include "golden.h"
#include "mnet/errors.h"
#include "mnet/session.h"
#include "pack.h"
#include "series.h"

namespace mnet {
namespace {

// A swap counts only if it changes the output by this many tolerances; else a stale one could pass for it.
constexpr double kLeastChange = 100;
constexpr int kSwaps = 20;

Bytes golden_pack(const Bundle& bundle, const Golden& golden) {
    const Manifest& manifest = bundle.manifest();
    const auto file = bundle.file(manifest.golden_weights);
    return write_pack(check_parameters(Safetensors(*file).tensors(), manifest.slots), manifest, 1,
                      probe_values(golden.samples.front().swapped.front()));
}

void swap(Session& session, const Bytes& pack) try { session.swap(pack); } catch (const Refused& error) {
    throw IntegrityError(error.reason, "a pack of the bundle is refused: " + error.detail);
}

}  // namespace

Verification verify(const Bundle& bundle) {
    const Golden golden(bundle);
    Session session(bundle);
    Verification found{bundle.manifest().slots.size(), 1 + kSwaps, 0, std::numeric_limits<double>::infinity(),
                       bundle.manifest().tolerance};
    bool right = true;
    const auto run = [&](const Sample& sample, const Outputs& expected) {
        Outputs outputs;
        session.run(sample.inputs, outputs);
        found.max_abs_error = std::max(found.max_abs_error, max_abs_error(outputs, expected));
        right &= agrees(outputs, expected, found.tolerance);
        return outputs;
    };
    std::vector<Outputs> before;
    for (const Sample& sample : golden.samples) before.push_back(run(sample, sample.by_default));
    swap(session, golden_pack(bundle, golden));
    for (std::size_t k = 0; k < before.size(); ++k) {
        Outputs after = run(golden.samples[k], golden.samples[k].swapped);
        found.output_change = std::min(found.output_change, max_abs_error(after, before[k]));
        before[k] = std::move(after);
    }
    const SwapSeries series(bundle);
    Outputs last = before.front(), outputs;
    for (int k = 0; k < kSwaps; ++k) {
        swap(session, series.pack(k, 2 + k));
        session.run(golden.samples.front().inputs, outputs);
        found.max_abs_error =
            std::max(found.max_abs_error, max_abs_error({outputs.front()}, {series.expected(k)}));
        found.output_change = std::min(found.output_change, max_abs_error(outputs, last));
        right &= agrees({outputs.front()}, {series.expected(k)}, found.tolerance);
        last = outputs;
    }
    if (!right) throw IntegrityError(Reason::self_test_failed, "outputs are off from eager PyTorch's");
    if (found.output_change < kLeastChange * found.tolerance) {
        throw IntegrityError(Reason::self_test_failed, "a swap hardly changes the output");
    }
    return found;
}

}  // namespace mnet
