import Foundation

/// A tensor of a pack: what a slot's parameter travels in, as `export/format/pack_dtypes.py` says.
struct Carrier {
    let name: String
    let dtype: DType
    let shape: [Int]
}

/// The tensors that a pack holds for a slot: in int8, one scale for each output channel with the values.
func carriers(_ slot: Slot) -> [Carrier] {
    let values = Carrier(name: slot.parameter, dtype: slot.packDtype, shape: slot.shape)
    guard slot.packDtype == .int8 else { return [values] }
    return [values, Carrier(name: scaleName(slot), dtype: .float32, shape: Array(slot.shape.prefix(1)))]
}

/// The tensors of a pack, checked against `carriers`, as the fp32 parameter that they stand for.
func widened(_ slot: Slot, _ tensors: [String: Tensor]) throws -> Tensor {
    let tensor = try found(slot.parameter, in: tensors)
    switch slot.packDtype {
    case .int8: return dequantized(tensor, try found(scaleName(slot), in: tensors).floats())
    case .float16: return Tensor(tensor.shape, tensor.floats())
    default: return tensor
    }
}

/// `value = int8 * scale`, of one scale for each output channel, the first dimension.
private func dequantized(_ tensor: Tensor, _ scale: [Float]) -> Tensor {
    let values = tensor.elements(Int8.self)
    let each = values.count / max(scale.count, 1)
    return Tensor(tensor.shape, values.enumerated().map { Float($1) * scale[$0 / each] })
}

/// The number whose IEEE 754 half has these bits, exactly. Swift's own `Float16` is missing on Macs with Intel processors.
func halfToFloat(_ bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let rest = UInt32(bits & 0x7fff) << 13
    if rest >= 0x7c00 << 13 { return Float(bitPattern: sign | 0x7f80_0000 | rest) }
    // Read as a float's, the exponent is too small by the difference of the two biases, 127 - 15.
    return Float(bitPattern: sign | rest) * 0x1p112
}

/// The bits of the IEEE 754 half next to a number, of two equally near the even one; beyond the largest half, infinity.
public func floatToHalf(_ number: Float) -> UInt16 {
    let sign = UInt16(truncatingIfNeeded: number.bitPattern >> 16) & 0x8000
    let size = number.magnitude
    if size.isNaN { return sign | 0x7e00 }
    if size >= 65520 { return sign | 0x7c00 }
    // Below the smallest normal half, halves are multiples of 2^-24: the sum with 0.5 rounds to these.
    if size < 0x1p-14 { return sign | UInt16(truncatingIfNeeded: (size + 0.5).bitPattern &- Float(0.5).bitPattern) }
    let bits = size.bitPattern - (127 - 15) << 23
    return sign | UInt16(truncatingIfNeeded: (bits + 0xfff + (bits >> 13) & 1) >> 13)
}

func found(_ name: String, in tensors: [String: Tensor]) throws -> Tensor {
    guard let tensor = tensors[name] else { throw Refused(.missingTensor, "no tensor \(name)") }
    return tensor
}

private func scaleName(_ slot: Slot) -> String { "\(slot.parameter):scale" }
