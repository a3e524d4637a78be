import Foundation

/// One version of the generated parameters that fits its bundle; `parameters` are fp32, by name.
public struct WeightPack: Sendable {
    public let version: Int
    public let probe: [Double]
    public let parameters: [String: Tensor]
}

private let schema = "mnet.pack/2"
private let fields: Set<String> = ["schema", "bundle", "version", "generator", "probe"]

/// Check the bytes of a pack against the bundle that it is for; throws `Refused` by name.
///
/// That its version is newer than the one served is for `SwapController` to check.
public func readPack(_ data: Data, for manifest: Manifest) throws -> WeightPack {
    let file = try Safetensors(data)
    let (version, bundle, probe) = try orMalformed("the pack's metadata") {
        let text = try file.metadata.string("mnet")
        return try checkedFields(JSON(parsing: Data(text.utf8)).object(at: "mnet"))
    }
    if bundle != manifest.id {
        throw Refused(.wrongBundle, "the pack is for bundle \(bundle), this is \(manifest.id)")
    }
    let tensors = try file.tensors()
    try check(tensors, are: manifest.slots.flatMap(carriers))
    var parameters: [String: Tensor] = [:]
    for slot in manifest.slots { parameters[slot.parameter] = try widened(slot, tensors) }
    return WeightPack(version: version, probe: probe, parameters: parameters)
}

/// Throws `Refused` unless the tensors are these, and finite.
func check(_ tensors: [String: Tensor], are expected: [Carrier]) throws {
    for carrier in expected { _ = try found(carrier.name, in: tensors) }
    if let extra = Set(tensors.keys).subtracting(expected.map(\.name)).first {
        throw Refused(.extraTensor, "the bundle has no slot for \(extra)")
    }
    for carrier in expected {
        let tensor = try found(carrier.name, in: tensors)
        if tensor.dtype != carrier.dtype {
            throw Refused(.wrongDtype, "\(carrier.name) is \(tensor.dtype), its slot \(carrier.dtype)")
        }
        if tensor.shape != carrier.shape {
            throw Refused(.wrongShape, "\(carrier.name) is \(tensor.shape), its slot \(carrier.shape)")
        }
        if !tensor.floats().allSatisfy(\.isFinite) {
            throw Refused(.notFinite, "\(carrier.name) holds a NaN or an infinity")
        }
    }
}

private func checkedFields(_ metadata: JSONObject) throws -> (version: Int, bundle: String, probe: [Double]) {
    if Set(metadata.keys) != fields { throw JSONError("its entries are \(metadata.keys.sorted())") }
    if try metadata.string("schema") != schema { throw JSONError("its schema is unknown") }
    _ = try metadata.string("generator")
    let version = try metadata.integer("version")
    if !(0...maxVersion).contains(version) { throw JSONError("versions are 0 to \(maxVersion)") }
    let probe = try metadata.list("probe").compactMap(\.asDouble).filter(\.isFinite)
    if try probe.count != probeSums || metadata.list("probe").count != probeSums {
        throw JSONError("the probe is not \(probeSums) finite numbers")
    }
    return (version, try metadata.string("bundle"), probe)
}
