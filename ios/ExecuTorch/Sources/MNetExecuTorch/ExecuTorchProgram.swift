#if canImport(ExecuTorch)
    import ExecuTorch
    import Foundation
    import MNetCore

    /// A bundle of `mnet export --target android --binding input` on ExecuTorch: the generated parameters are further inputs of
    /// `forward`, after the model's own.
    public final class ExecuTorchProgram: Program {
        fileprivate let module: SharedModule
        fileprivate let manifest: Manifest

        /// The slots in the order of the inputs that they are.
        private let slots: [Slot]

        /// Throws `BundleError` for a bundle of another kind, or what ExecuTorch throws.
        public init(_ bundle: ModelBundle) throws {
            manifest = bundle.manifest
            let first = manifest.inputs.count
            let indexed = try manifest.slots.map { slot in
                guard case .input(let index) = slot.binding else {
                    throw BundleError.unusable("\(slot.parameter) is no input of the program: export with --binding input")
                }
                return (index, slot)
            }.sorted { $0.0 < $1.0 }
            if indexed.map(\.0) != Array(first..<first + indexed.count) {
                throw BundleError.unusable("the generated parameters are not the inputs after the model's own")
            }
            slots = indexed.map(\.1)
            module = SharedModule(Module(filePath: bundle.file(manifest.program).path))
            try module.turn.withLock { try module.module.load("forward") }
        }

        public func bind(_ parameters: [String: MNetCore.Tensor]) throws -> any Run {
            let weights = try slots.map { slot in
                guard let parameter = parameters[slot.parameter] else { throw BundleError.unusable("no value for \(slot.parameter)") }
                return try arranged(slot, parameter)
            }
            return InputRun(program: self, weights: weights)
        }
    }

    /// A module is not re-entrant: predictions take turns.
    private final class SharedModule: @unchecked Sendable {
        let module: Module
        let turn = NSLock()

        init(_ module: Module) {
            self.module = module
        }
    }

    /// One version's weights, as the runtime wants them; never written after they were made.
    private struct InputRun: Run {
        let program: ExecuTorchProgram
        let weights: [MNetCore.Tensor]

        func callAsFunction(_ inputs: [MNetCore.Tensor]) throws -> [MNetCore.Tensor] {
            let infos = program.manifest.inputs
            if inputs.count != infos.count || !zip(inputs, infos).allSatisfy({ $0.dtype == $1.dtype && $1.takes($0.shape) }) {
                throw BundleError.unusable("the model takes \(infos.map { "\($0.name): \($0.dtype) \($0.shape)" })")
            }
            let given = try (inputs + weights).map(anyTensor)
            return try program.module.turn.withLock {
                let outputs: [Value] = try program.module.module.forward(given)
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
