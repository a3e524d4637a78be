// soak BUNDLE SWAPS: swap as fast as it goes while another thread infers; says how many outputs were of no
// version at all (mixed), or of an older one than was published before the inference began (stale).
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <thread>

#include "golden.h"
#include "mnet/session.h"
#include "series.h"

int main(int, char** arguments) {
    const auto bundle = mnet::Bundle::load(arguments[1]);
    const int swaps = std::atoi(arguments[2]);
    const mnet::Golden golden(bundle);
    const mnet::SwapSeries series(bundle);
    mnet::Session session(bundle);
    std::atomic<std::int64_t> published{0};
    std::atomic<long> inferences{0};
    std::thread writer([&] {
        for (std::int64_t version = 1; version <= swaps; ++version) {
            const mnet::Bytes pack = series.pack(version - 1, version);
            // The next inference runs while this swap does, even where both threads share one core.
            for (const long done = inferences; done == inferences;) std::this_thread::yield();
            session.swap(pack);
            published = version;
        }
    });
    const mnet::Sample& sample = golden.samples.front();
    long mixed = 0, stale = 0;
    std::set<std::int64_t> seen;
    mnet::Outputs outputs;
    while (published < swaps) {
        const std::int64_t before = published;
        const auto snapshot = session.live();
        snapshot->run(sample.inputs, outputs);
        const auto& expected = snapshot->version ? series.expected(snapshot->version - 1) : series.by_default();
        const auto actual = mnet::probe(outputs, bundle.manifest().outputs);
        mixed += !(mnet::distance(actual, expected) <= bundle.manifest().tolerance);
        stale += snapshot->version < before;
        seen.insert(snapshot->version);
        ++inferences;
    }
    writer.join();
    std::printf("{\"inferences\":%ld,\"versions\":%zu,\"mixed\":%ld,\"stale\":%ld}\n", inferences.load(),
                seen.size(), mixed, stale);
}
