#if canImport(CoreML)
    import CoreML
    import Foundation
    import MNetCore

    /// What CoreML takes of a model's inputs, and `more`. Throws `BundleError` for tensors that are not the model's inputs.
    func features(
        _ inputs: [Tensor], _ manifest: Manifest, and more: [String: MLMultiArray]
    ) throws -> MLDictionaryFeatureProvider {
        if inputs.count != manifest.inputs.count { throw BundleError.unusable("the model takes \(manifest.inputs.count) inputs") }
        var arrays: [String: Any] = more
        for (tensor, info) in zip(inputs, manifest.inputs) {
            if tensor.dtype != info.dtype || !info.takes(tensor.shape) {
                throw BundleError.unusable("\(info.name) is \(tensor.dtype) of shape \(tensor.shape)")
            }
            arrays[info.name] = try array(tensor)
        }
        return try MLDictionaryFeatureProvider(dictionary: arrays)
    }

    /// The outputs in the order of the manifest. Throws `BundleError` where one is missing or of another type.
    func tensors(_ outputs: any MLFeatureProvider, _ manifest: Manifest) throws -> [Tensor] {
        try manifest.outputs.map { info in
            guard let array = outputs.featureValue(for: info.name)?.multiArrayValue else {
                throw BundleError.unusable("the model gives no \(info.name)")
            }
            return try tensor(array, info.dtype)
        }
    }

    /// CoreML knows no 64-bit integers: item ids are int32 to it.
    private func array(_ tensor: Tensor) throws -> MLMultiArray {
        let (type, data): (MLMultiArrayDataType, Data) =
            switch tensor.dtype {
            case .float32: (.float32, tensor.data)
            case .float16: (.float16, tensor.data)
            case .int32: (.int32, tensor.data)
            case .int64: (.int32, tensor.longs().map(Int32.init(clamping:)).withUnsafeBytes { Data($0) })
            default: throw BundleError.unusable("CoreML takes no \(tensor.dtype)")
            }
        let array = try MLMultiArray(shape: tensor.shape.map(NSNumber.init(value:)), dataType: type)
        array.withUnsafeMutableBytes { bytes, _ in _ = data.copyBytes(to: bytes) }
        return array
    }

    /// A copy in row-major order: an output's rows may lie further apart than they are long.
    private func tensor(_ array: MLMultiArray, _ dtype: DType) throws -> Tensor {
        let shape = array.shape.map(\.intValue)
        let width: Int
        switch (array.dataType, dtype) {
        case (.float32, .float32), (.int32, .int32), (.int32, .int64): width = 4
        case (.float16, .float16): width = 2
        default: throw BundleError.unusable("an output is of another type than \(dtype)")
        }
        var data = Data()
        array.withUnsafeBytes { bytes in
            for offset in offsets(shape, array.strides.map(\.intValue)) where (offset + 1) * width <= bytes.count {
                data.append(contentsOf: bytes[offset * width..<(offset + 1) * width])
            }
        }
        let whole = Tensor(dtype == .int64 ? .int32 : dtype, shape, data)
        return dtype == .int64 ? Tensor(shape, whole.numbers().map { Int64($0) }) : whole
    }
#endif

/// Where each element of a tensor lies, in row-major order, counted in elements.
func offsets(_ shape: [Int], _ strides: [Int]) -> [Int] {
    var offsets = [0]
    for (length, stride) in zip(shape, strides) {
        offsets = offsets.flatMap { offset in (0..<length).map { offset + $0 * stride } }
    }
    return offsets
}
