import Foundation

private let pytorchLayouts = ["", "O", "OI", "OIW", "OIHW", "OIDHW"]

/// The shape of a slot's value as the runtime takes it. Throws `BundleError` if its layout is none of its shape.
func arrangedShape(_ slot: Slot) throws -> [Int] { try dimensions(of: slot).map { slot.shape[$0] } }

/// A parameter, which lies in PyTorch's layout, in the one that its slot wants, as `export/format/slots.py`: with its dimensions in
/// the order of the layout, less those of size 1 that it leaves out. Throws `BundleError` if its layout is none of its shape.
public func arranged(_ slot: Slot, _ parameter: Tensor) throws -> Tensor {
    let order = try dimensions(of: slot)
    let shape = order.map { slot.shape[$0] }
    if order == order.sorted() { return Tensor(parameter.dtype, shape, parameter.data) }
    let values = parameter.floats()
    let strides = slot.shape.indices.map { product(of: Array(slot.shape[($0 + 1)...])) ?? 0 }
    var arranged: [Float] = []
    arranged.reserveCapacity(values.count)
    func copy(_ depth: Int, _ offset: Int) {
        guard depth < order.count else { return arranged.append(values[offset]) }
        for k in 0..<shape[depth] { copy(depth + 1, offset + k * strides[order[depth]]) }
    }
    if parameter.dtype == .float32, parameter.shape == slot.shape { copy(0, 0) }
    return Tensor(shape, arranged)
}

/// Which dimension of PyTorch's each letter of the layout is.
private func dimensions(of slot: Slot) throws -> [Int] {
    guard slot.shape.count < pytorchLayouts.count else { throw BundleError.unusable("\(slot.parameter) is \(slot.shape)") }
    let own = Array(pytorchLayouts[slot.shape.count])
    let order = slot.layout.compactMap { own.firstIndex(of: $0) }
    let left = Set(own.indices).subtracting(order)
    if order.count != slot.layout.count || Set(order).count != order.count || left.contains(where: { slot.shape[$0] != 1 }) {
        throw BundleError.unusable("\(slot.parameter) of shape \(slot.shape) has no layout \(slot.layout)")
    }
    return order
}
