// switches BUNDLE SWITCHES: switch between resident packs as fast as it goes while another thread infers; says how many
// outputs were not those of the weights that served (mixed, to the reader) or were asked for (stale).
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <thread>

#include "golden.h"
#include "mnet/session.h"
#include "series.h"

int main(int, char** arguments) {
    const auto bundle = mnet::Bundle::load(arguments[1]);
    const int switches = std::atoi(arguments[2]);
    const mnet::Golden golden(bundle);
    const mnet::SwapSeries series(bundle);
    const std::vector<mnet::Input>& inputs = golden.samples.front().inputs;
    mnet::Session session(bundle);
    const std::string names[] = {"", "de", "fr"};
    std::map<std::string, mnet::Outputs> expected;
    session.run(inputs, expected[""]);
    for (int k : {1, 2}) {
        const auto serving = session.live();
        session.load(names[k], series.pack(k, 1));
        if (session.live() != serving) throw std::logic_error("loading switched");
        session.use(names[k]);
        session.run(inputs, expected[names[k]]);
    }
    std::atomic<bool> stopped{false};
    std::atomic<long> inferences{0};
    long mixed = 0, stale = 0;
    std::thread reader([&] {
        mnet::Outputs outputs;
        while (!stopped) {
            const auto snapshot = session.live();
            snapshot->run(inputs, outputs);
            mixed += outputs != expected[snapshot->name];
            ++inferences;
        }
    });
    mnet::Outputs outputs;
    for (int k = 0; k < switches; ++k) {
        const long done = inferences;
        session.use(names[k % 3]);
        session.run(inputs, outputs);
        stale += outputs != expected[names[k % 3]];
        while (done == inferences) std::this_thread::yield();
    }
    stopped = true;
    reader.join();
    session.use("de");
    session.swap(series.pack(3, 2));
    const bool swapped = session.version() == 2 && session.live()->name.empty();
    session.use("de");
    session.unload("de");
    session.run(inputs, outputs);
    const bool serves = outputs == expected["de"];
    bool refused = false;
    try {
        session.load("fr", series.pack(1, 1));
    } catch (const mnet::Refused& error) {
        refused = error.reason == mnet::Reason::stale_version;
    }
    bool absent = false;
    try {
        session.use("de");
    } catch (const std::out_of_range&) {
        absent = true;
    }
    std::printf("{\"inferences\":%ld,\"mixed\":%ld,\"stale\":%ld,\"kept\":%s}\n", inferences.load(), mixed, stale,
                swapped && serves && refused && absent ? "true" : "false");
}
