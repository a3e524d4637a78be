// mnet-runner: verify, swap and bench a bundle on the ExecuTorch runtime, in C++.
//
// Exit status: 0, or 1 where a bundle is damaged or a pack refused, or 2 where the call is wrong.
#include <executorch/runtime/platform/platform.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>

#include "bench.h"
#include "golden.h"
#include "memory.h"
#include "mnet/session.h"
#include "verify.h"

namespace {

using nlohmann::ordered_json;

const char* const kUsage =
    "usage: mnet-runner verify BUNDLE [PACK]             check a bundle, and that it takes a weight pack\n"
    "       mnet-runner swap BUNDLE PACK... [--json]     serve the packs one after the other\n"
    "       mnet-runner bench BUNDLE [--swaps N] [--json]\n"
    "       mnet-runner memory BUNDLE [--json]               what an instance takes\n";

/// The call is wrong; says how.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Arguments {
    std::string command;
    std::string bundle;
    std::vector<std::string> packs;
    int swaps = 200;
    bool json = false;
};

Arguments parse(const std::vector<std::string>& words) {
    Arguments arguments;
    std::vector<std::string> positional;
    for (std::size_t k = 0; k < words.size(); ++k) {
        if (words[k] == "--json") {
            arguments.json = true;
        } else if (words[k] == "--swaps" && k + 1 < words.size()) {
            arguments.swaps = std::atoi(words[++k].c_str());
        } else if (words[k].rfind("--", 0) == 0) {
            throw UsageError("unknown option " + words[k]);
        } else {
            positional.push_back(words[k]);
        }
    }
    if (positional.size() < 2) throw UsageError("a command and a bundle are needed");
    arguments.command = positional[0];
    arguments.bundle = positional[1];
    arguments.packs.assign(positional.begin() + 2, positional.end());
    if (arguments.swaps < 1) throw UsageError("--swaps takes a number from 1");
    return arguments;
}

mnet::Bytes read(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw UsageError("no pack at " + path);
    return {std::istreambuf_iterator<char>(stream), {}};
}

void print_table(const ordered_json& figures, const std::string& prefix = "") {
    for (const auto& [name, value] : figures.items()) {
        if (value.is_object()) {
            print_table(value, prefix + name + ".");
        } else {
            std::printf("%-36s %s\n", (prefix + name).c_str(),
                        value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
        }
    }
}

void print(const ordered_json& figures, bool json) {
    if (json) {
        std::cout << figures.dump() << '\n';
    } else {
        print_table(figures);
    }
}

ordered_json swap(mnet::Session& session, const std::string& path) {
    ordered_json result = {{"pack", path}};
    try {
        const mnet::SwapTimes times = session.swap(read(path));
        result["ok"] = true;
        result["verify_us"] = times.verify.count();
        result["write_us"] = times.write.count();
        result["self_test_us"] = times.self_test.count();
        result["publish_us"] = times.publish.count();
    } catch (const mnet::Refused& error) {
        result["ok"] = false;
        result["reason"] = mnet::name(error.reason);
        result["detail"] = error.detail;
    }
    result["version"] = session.version();
    return result;
}

int run_verify(const Arguments& arguments) {
    if (arguments.packs.size() > 1) throw UsageError("verify takes one pack at the most");
    const mnet::Bundle bundle = mnet::Bundle::load(arguments.bundle);
    const mnet::Verification found = mnet::verify(bundle);
    ordered_json figures = {{"ok", true},
                            {"slots", found.slots},
                            {"packs", found.packs},
                            {"max_error", found.max_error},
                            {"output_change", found.output_change},
                            {"tolerance", found.tolerance}};
    if (!arguments.packs.empty()) {
        mnet::Session session(bundle);
        figures["pack"] = swap(session, arguments.packs.front());
        figures["ok"] = figures["pack"]["ok"];
    }
    print(figures, arguments.json);
    return figures["ok"] ? 0 : 1;
}

/// Serves the packs in turn, and says what the last one accepted gives for the golden samples.
int run_swap(const Arguments& arguments) {
    if (arguments.packs.empty()) throw UsageError("swap takes at least one pack");
    const mnet::Bundle bundle = mnet::Bundle::load(arguments.bundle, mnet::Bundle::Scope::device);
    mnet::Session session(bundle);
    ordered_json swaps = ordered_json::array(), outputs = ordered_json::array();
    bool ok = true;
    for (const std::string& path : arguments.packs) {
        swaps.push_back(swap(session, path));
        ok &= swaps.back()["ok"].get<bool>();
    }
    for (const mnet::Sample& sample : mnet::Golden(bundle).samples) {
        mnet::Outputs values;
        session.run(sample.inputs, values);
        outputs.push_back(values);
    }
    if (arguments.json) {
        print({{"ok", ok}, {"version", session.version()}, {"swaps", swaps}, {"outputs", outputs}}, true);
    } else {
        for (const auto& swapped : swaps) print_table(swapped);
    }
    return ok ? 0 : 1;
}

/// ExecuTorch also tells of each processor file that it looks for; what failed is enough.
void log_errors(et_timestamp_t, et_pal_log_level_t level, const char*, const char*, std::size_t,
                const char* message, std::size_t) {
    if (level == kError || level == kFatal) std::fprintf(stderr, "executorch: %s\n", message);
}

int run(const Arguments& arguments) {
    if (arguments.command == "verify") return run_verify(arguments);
    if (arguments.command == "swap") return run_swap(arguments);
    const bool memory = arguments.command == "memory";
    if (!memory && arguments.command != "bench") throw UsageError("unknown command " + arguments.command);
    if (!arguments.packs.empty()) throw UsageError(arguments.command + " takes a bundle only");
    if (memory) {
        print(mnet::memory(arguments.bundle), arguments.json);
        return 0;
    }
    print(mnet::bench(arguments.bundle, arguments.swaps), arguments.json);
    return 0;
}

}  // namespace

int main(int count, char** values) {
    const std::vector<std::string> words(values + 1, values + count);
    const bool json = std::find(words.begin(), words.end(), "--json") != words.end();
    executorch::runtime::register_pal(executorch::runtime::PalImpl::create(log_errors, __FILE__));
    try {
        return run(parse(words));
    } catch (const UsageError& error) {
        std::fprintf(stderr, "mnet-runner: %s\n%s", error.what(), kUsage);
        return 2;
    } catch (const mnet::IntegrityError& error) {
        if (json) {
            print({{"ok", false}, {"reason", mnet::name(error.reason)}, {"detail", error.detail}}, true);
        } else {
            std::fprintf(stderr, "damaged: %s\n", error.what());
        }
        return 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "mnet-runner: %s\n", error.what());
        return 2;
    }
}
