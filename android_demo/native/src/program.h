#pragma once

#include <memory>

#include "mnet/bundle.h"
#include "mnet/session.h"
#include "pack.h"

namespace mnet {

/// A device model loaded on the runtime, whatever its target.
class DeviceProgram {
public:
    virtual ~DeviceProgram() = default;

    /// The model under these parameters. What was bound before keeps its own.
    virtual std::shared_ptr<const Snapshot> bind(std::int64_t version, const Parameters& parameters) = 0;
};

/// Target `executorch`: methods `encode` and `head`, the generated parameters as bytes of a `.ptd`.
std::unique_ptr<DeviceProgram> load_split(const Bundle& bundle);

/// Target `android` with binding `bytes`: one method `forward`, the generated parameters as constants of its
/// file.
std::unique_ptr<DeviceProgram> load_patched(const Bundle& bundle);

/// Target `android`: one method `forward`, the generated parameters as further inputs; without slots, the
/// baked program of any target.
std::unique_ptr<DeviceProgram> load_forward(std::shared_ptr<const Bytes> file, const Manifest& manifest,
                                            const std::vector<Slot>& slots);

}  // namespace mnet
