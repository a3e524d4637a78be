#if canImport(ExecuTorch)
    import ExecuTorch
    import Foundation
    import MNetCore

    /// One loaded `forward` of a model with the inputs of a manifest. A module is not re-entrant: predictions take turns.
    final class Forward: @unchecked Sendable {
        private let module: Module
        private let manifest: Manifest
        private let turn = NSLock()

        /// The file may go once it is loaded. Throws `BundleError` where this phone's ExecuTorch cannot.
        init(_ file: URL, _ manifest: Manifest) throws {
            self.manifest = manifest
            module = Module(filePath: file.path, loadMode: .mmap)
            do {
                try module.load("forward")
            } catch {
                throw BundleError.unusable("ExecuTorch cannot load the program: \(error)")
            }
        }

        /// One inference of the model's inputs, and of `weights` after them.
        func run(_ inputs: [MNetCore.Tensor], _ weights: [MNetCore.Tensor] = []) throws -> [MNetCore.Tensor] {
            let infos = manifest.inputs
            if inputs.count != infos.count || !zip(inputs, infos).allSatisfy({ $0.dtype == $1.dtype && $1.takes($0.shape) }) {
                throw BundleError.unusable("the model takes \(infos.map { "\($0.name): \($0.dtype) \($0.shape)" })")
            }
            let given = try (inputs + weights).map(anyTensor)
            return try turn.withLock {
                let outputs: [Value] = try module.forward(given)
                // Copied while it is our turn: the next prediction writes to the same memory.
                return try outputs.map(tensor)
            }
        }
    }

    private let dtypes: [(DType, DataType)] = [
        (.float32, .float), (.float16, .half), (.int64, .long), (.int32, .int), (.int8, .char), (.uint8, .byte), (.bool, .bool),
    ]

    private func anyTensor(_ tensor: MNetCore.Tensor) throws -> AnyTensor {
        guard let type = dtypes.first(where: { $0.0 == tensor.dtype })?.1 else {
            throw BundleError.unusable("ExecuTorch takes no \(tensor.dtype)")
        }
        // Copied, so that the numbers lie where numbers may: a view of a file need not.
        return AnyTensor(data: tensor.data.withUnsafeBytes { Data($0) }, shape: tensor.shape, dataType: type)
    }

    private func tensor(_ value: Value) throws -> MNetCore.Tensor {
        guard let output = value.anyTensor, let dtype = dtypes.first(where: { $0.1 == output.dataType })?.0 else {
            throw BundleError.unusable("an output is no tensor that is known here")
        }
        var data = Data()
        output.bytes { pointer, count, _ in data = Data(bytes: pointer, count: count * dtype.width) }
        return MNetCore.Tensor(dtype, output.shape, data)
    }
#endif
