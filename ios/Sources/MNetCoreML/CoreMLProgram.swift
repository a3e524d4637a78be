#if canImport(CoreML)
    import CoreML
    import Foundation
    import MNetCore

    /// A bundle of `mnet export --target ios` on CoreML: one flat fp16 vector holds all generated parameters.
    ///
    /// The vector of a version is never written after it was made, so any number of predictions may read it while the next version
    /// is made: the phone publishes a version by one reference, and the vector goes with the last prediction that reads it.
    public final class CoreMLProgram: Program {
        private let model: SharedModel
        private let manifest: Manifest
        private let vector: FlatVector

        /// Load the bundle's package, and compile it unless this phone did so before into `compiled`, a folder for what is compiled.
        ///
        /// `computeUnits`: the neural engine may round differently from the CPU; whether it still gives the golden outputs, the
        /// self-test of `Phone` says. Throws `BundleError`, or what CoreML throws.
        public static func load(
            _ bundle: ModelBundle, compiled: URL, computeUnits: MLComputeUnits = .cpuOnly
        ) async throws -> CoreMLProgram {
            let place = compiled.appendingPathComponent("\(bundle.id).mlmodelc")
            if !FileManager.default.fileExists(atPath: place.path) {
                try FileManager.default.createDirectory(at: compiled, withIntermediateDirectories: true)
                let made = try await MLModel.compileModel(at: bundle.file(bundle.manifest.program))
                try FileManager.default.moveItem(at: made, to: place)
            }
            return try CoreMLProgram(loaded(place, computeUnits), bundle.manifest)
        }

        /// The same model with its default weights as constants, to compare with: a package at `path` of the bundle, compiled each time.
        public static func loadBaked(
            _ bundle: ModelBundle, _ path: String, computeUnits: MLComputeUnits = .cpuOnly
        ) async throws -> any Run {
            let place = try await MLModel.compileModel(at: bundle.file(path))
            defer { try? FileManager.default.removeItem(at: place) }
            return ConstantRun(model: SharedModel(try loaded(place, computeUnits)), manifest: bundle.manifest)
        }

        private static func loaded(_ place: URL, _ computeUnits: MLComputeUnits) throws -> MLModel {
            let configuration = MLModelConfiguration()
            configuration.computeUnits = computeUnits
            return try MLModel(contentsOf: place, configuration: configuration)
        }

        init(_ model: MLModel, _ manifest: Manifest) throws {
            self.model = SharedModel(model)
            self.manifest = manifest
            vector = try FlatVector(manifest)
            if vector.source == .state {
                guard #available(iOS 18, macOS 15, *) else {
                    throw BundleError.unusable("the bundle keeps its weights in a state, which iOS 18 brings: export it again with --binding input")
                }
            }
        }

        public func bind(_ parameters: [String: Tensor]) throws -> any Run {
            let halves = try vector.filled(parameters)
            switch vector.source {
            case .input: return try InputRun(model, manifest, vector.name, halves)
            case .state:
                guard #available(iOS 18, macOS 15, *) else { throw BundleError.unusable("a state needs iOS 18") }
                return try StateRun(model, manifest, vector.name, halves)
            }
        }
    }

    /// CoreML's models may be asked by several threads at once, which their type does not say.
    final class SharedModel: @unchecked Sendable {
        let model: MLModel

        init(_ model: MLModel) {
            self.model = model
        }
    }

    /// A model whose weights are its own.
    private struct ConstantRun: Run {
        let model: SharedModel
        let manifest: Manifest

        func callAsFunction(_ inputs: [Tensor]) throws -> [Tensor] {
            try tensors(try model.model.prediction(from: try features(inputs, manifest, and: [:])), manifest)
        }
    }

    /// The weights of one version as a further input.
    private final class InputRun: Run, @unchecked Sendable {
        private let model: SharedModel
        private let manifest: Manifest
        private let name: String

        /// Only ever read.
        private let weights: MLMultiArray

        init(_ model: SharedModel, _ manifest: Manifest, _ name: String, _ halves: [UInt16]) throws {
            (self.model, self.manifest, self.name) = (model, manifest, name)
            weights = try MLMultiArray(shape: [NSNumber(value: halves.count)], dataType: .float16)
            fill(weights, with: halves)
        }

        func callAsFunction(_ inputs: [Tensor]) throws -> [Tensor] {
            let provider = try features(inputs, manifest, and: [name: weights])
            return try tensors(try model.model.prediction(from: provider), manifest)
        }
    }

    /// The weights of one version as a state of its own, written once, before anything reads it.
    @available(iOS 18, macOS 15, *)
    private final class StateRun: Run, @unchecked Sendable {
        private let model: SharedModel
        private let manifest: Manifest
        private let state: MLState

        /// Predictions on one state take turns: CoreML allows one at a time.
        private let turn = NSLock()

        init(_ model: SharedModel, _ manifest: Manifest, _ name: String, _ halves: [UInt16]) throws {
            (self.model, self.manifest) = (model, manifest)
            state = model.model.makeState()
            state.withMultiArray(for: name) { fill($0, with: halves) }
        }

        func callAsFunction(_ inputs: [Tensor]) throws -> [Tensor] {
            let provider = try features(inputs, manifest, and: [:])
            return try turn.withLock { try tensors(try model.model.prediction(from: provider, using: state), manifest) }
        }
    }

    private func fill(_ array: MLMultiArray, with halves: [UInt16]) {
        array.withUnsafeMutableBytes { bytes, _ in
            halves.withUnsafeBytes { bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0.prefix(bytes.count))) }
        }
    }
#endif
