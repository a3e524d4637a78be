import MNetCore

/// The vector that carries all generated parameters, as `export/targets/ios.py` lays it out: slot after slot in PyTorch's layout,
/// fp16, padded with zeros to a multiple of 32.
struct FlatVector: Sendable {
    private static let multiple = 32

    /// What the program calls it.
    let name: String

    /// What it is to the program.
    let source: SlotBinding.Source

    /// How many elements it has.
    let length: Int
    private let places: [(parameter: String, offset: Int, size: Int)]

    /// Throws `BundleError` where the slots of a bundle are not slices of one vector, each as large as its parameter.
    init(_ manifest: Manifest) throws {
        var found: (name: String, source: SlotBinding.Source)?
        places = try manifest.slots.map { slot in
            guard case .slice(let source, let name, let offset, let size) = slot.binding,
                size == slot.shape.reduce(1, *), found == nil || found?.name == name && found?.source == source
            else { throw BundleError.unusable("\(slot.parameter) is no slice of one vector: export with --target ios") }
            found = (name, source)
            return (slot.parameter, offset, size)
        }
        guard let found else { throw BundleError.unusable("the bundle generates no parameters") }
        (name, source) = found
        let end = places.map { $0.offset + $0.size }.max() ?? 0
        length = (end + Self.multiple - 1) / Self.multiple * Self.multiple
    }

    /// The bits of the halves for these parameters, fp32 in PyTorch's layout. Throws `BundleError` where one is missing.
    func filled(_ parameters: [String: Tensor]) throws -> [UInt16] {
        var halves = [UInt16](repeating: 0, count: length)
        for place in places {
            let values = parameters[place.parameter]?.floats() ?? []
            if values.count != place.size { throw BundleError.unusable("no value for \(place.parameter)") }
            for (k, value) in values.enumerated() { halves[place.offset + k] = floatToHalf(value) }
        }
        return halves
    }
}
