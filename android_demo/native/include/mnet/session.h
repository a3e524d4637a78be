// A bundle's model that serves while its generated weights are swapped under it.
//
//     mnet::Session session(mnet::Bundle::load("bundle", mnet::Bundle::Scope::device));
//     mnet::Outputs scores;
//     session.run({{items, sizeof items}}, scores);   // version 0
//     session.swap(pack);                             // or throws mnet::Refused: nothing has changed
//     session.run({{items, sizeof items}}, scores);   // the pack's version
//     session.load("de", german);                     // tested and resident
//     session.use("de");
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mnet/bundle.h"
#include "mnet/errors.h"

namespace mnet {

/// One input of the model: contiguous data of the shape and dtype that the manifest says, in the caller's
/// memory.
struct Input {
    const void* data;
    std::size_t bytes;
};

/// The model's outputs, fp32, flat. They belong to the caller; memory that has the right size is used again.
using Outputs = std::vector<std::vector<float>>;

/// One version of the weights, ready to run. It never changes, so an inference belongs to one version.
class Snapshot {
public:
    explicit Snapshot(std::int64_t version, std::string name = {}) : version(version), name(std::move(name)) {}
    virtual ~Snapshot() = default;

    /// One inference; safe from several threads, which then take turns. It keeps to the calling thread.
    ///
    /// Throws std::invalid_argument on inputs that do not fit, std::runtime_error where the runtime fails.
    virtual void run(const std::vector<Input>& inputs, Outputs& outputs) const = 0;

    const std::int64_t version;
    const std::string name;  ///< of weights that were loaded to be switched to; empty for those that were swapped in
};

/// Where the time of one swap went.
struct SwapTimes {
    using Duration = std::chrono::duration<double, std::micro>;

    Duration verify;     ///< reading the pack and checking it against the slots
    Duration write;      ///< putting the weights where the runtime takes them from
    Duration self_test;  ///< one inference, compared with the pack's probe
    Duration publish;    ///< from then on readers get the new version

    Duration total() const { return verify + write + self_test + publish; }
};

/// Serves a bundle's model; safe to use from several threads.
///
/// A swap prepares and tests a new snapshot next to the live one and publishes it by storing one pointer,
/// which every inference loads once: it sees the old weights or the new ones, never a mixture.
///
/// Several packs, such as adapters, can be resident: `load` tests one and keeps it, `use` switches to it by
/// storing that pointer. Each holds what the runtime needs for one version; how many there are is the app's to
/// bound.
class Session {
public:
    /// Starts with the default weights as version 0. The bundle may go afterwards.
    ///
    /// Throws IntegrityError if they do not give the golden outputs, BundleError if the program cannot be
    /// loaded.
    explicit Session(const Bundle& bundle);
    ~Session();

    /// The snapshot that serves now; keep it to know which version an output belongs to.
    std::shared_ptr<const Snapshot> live() const;

    /// The version served now.
    std::int64_t version() const { return live()->version; }

    /// One inference under the weights live when it starts; see `Snapshot::run`.
    void run(const std::vector<Input>& inputs, Outputs& outputs) const { live()->run(inputs, outputs); }

    /// Checks, self-tests and publishes a weight pack. Throws Refused by name; after that, as after any other
    /// exception, the current weights keep serving.
    SwapTimes swap(const Bytes& pack);

    /// Checks and self-tests a weight pack of a higher version than the one of this name, which is not empty,
    /// and keeps it for `use`; what serves stays as it is. Throws as `swap`; nothing changes then.
    SwapTimes load(const std::string& name, const Bytes& pack);

    /// Serves the weights that were loaded under a name, from the next inference on; with an empty one, those
    /// last swapped in. Throws std::out_of_range for a name that is not loaded.
    void use(const std::string& name);

    /// Forgets the weights of a name; where they serve, they do so until the next `use` or `swap`.
    void unload(const std::string& name);

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// The same model with its default weights as constants, as an app would run it that never swaps. Needs a
/// bundle of scope `whole`.
std::shared_ptr<const Snapshot> open_baked(const Bundle& bundle);

}  // namespace mnet
