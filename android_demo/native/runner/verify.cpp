#include "verify.h"

#include <algorithm>
#include <limits>

#include "golden.h"
#include "mnet/errors.h"
#include "mnet/session.h"
#include "probe.h"
#include "series.h"

namespace mnet {
namespace {

// A swap counts only if it moves the probe by this many tolerances; else a stale one could pass for it.
constexpr double kLeastChange = 10;
constexpr int kSwaps = 20;

void swap(Session& session, const Bytes& pack) try { session.swap(pack); } catch (const Refused& error) {
    throw IntegrityError(error.reason, "a pack of the bundle is refused: " + error.detail);
}

/// Swaps packs in one after the other, and measures how the probe comes out.
class Swaps {
public:
    Swaps(const Bundle& bundle, Session& session, const Golden& golden, Verification& found)
        : infos_(bundle.manifest().outputs), session_(session), sample_(golden.samples.front()), found_(found) {}

    /// Swaps in a pack whose probe `expected` differs far from that of the weights `before`.
    void to(const Bytes& pack, const Probe& expected, const Probe& before) {
        swap(session_, pack);
        session_.run(sample_.inputs, outputs_);
        found_.max_error = std::max(found_.max_error, distance(probe(outputs_, infos_), expected));
        found_.output_change = std::min(found_.output_change, distance(expected, before));
        ++found_.packs;
    }

private:
    const std::vector<TensorInfo> infos_;
    Session& session_;
    const Sample& sample_;
    Verification& found_;
    Outputs outputs_;
};

}  // namespace

Verification verify(const Bundle& bundle) {
    const Manifest& manifest = bundle.manifest();
    const Golden golden(bundle);
    const SwapSeries series(bundle);
    Session session(bundle);
    Verification found{manifest.slots.size(), 0, 0, std::numeric_limits<double>::infinity(), manifest.tolerance};
    const auto run_all = [&](Outputs Sample::* expected) {
        Outputs outputs;
        for (const Sample& sample : golden.samples) {
            session.run(sample.inputs, outputs);
            found.max_error = std::max(found.max_error, largest_error(outputs, sample.*expected, manifest.outputs));
        }
    };
    Swaps swaps(bundle, session, golden, found);
    std::int64_t version = 0;
    run_all(&Sample::by_default);
    swaps.to(series.golden_pack(++version), series.golden(), series.by_default());
    run_all(&Sample::swapped);
    for (std::size_t slot = 0; slot < manifest.slots.size(); ++slot) {
        swaps.to(series.pack_alone(slot, ++version), series.alone(slot), series.golden());
    }
    for (int k = 0; k < kSwaps; ++k) {
        const Probe& before = k == 0 ? series.golden() : series.expected(k - 1);
        swaps.to(series.pack(k, ++version), series.expected(k), before);
    }
    if (!(found.max_error <= found.tolerance)) {
        throw IntegrityError(Reason::self_test_failed, "outputs are off from eager PyTorch's");
    }
    if (!(found.output_change >= kLeastChange * found.tolerance)) {
        throw IntegrityError(Reason::self_test_failed, "a swap, or a parameter alone, hardly moves the probe");
    }
    return found;
}

}  // namespace mnet
