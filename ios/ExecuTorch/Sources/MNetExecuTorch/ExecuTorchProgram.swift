#if canImport(ExecuTorch)
    import Foundation
    import MNetCore

    /// A bundle of `mnet export --target android` on ExecuTorch.
    public final class ExecuTorchProgram: Program {
        private let program: any Program

        /// `scratch` is a folder of this program's alone, in the app's caches, for versions whose weights are bytes of the program.
        /// Throws `BundleError` for a bundle of another target, and where this phone's ExecuTorch cannot load it.
        public init(_ bundle: ModelBundle, scratch: URL) throws {
            let manifest = bundle.manifest
            if manifest.target != "android" { throw BundleError.unusable("the bundle is for target \(manifest.target)") }
            let file = bundle.file(manifest.program)
            let isOfBytes = manifest.slots.contains { if case .bytes = $0.binding { true } else { false } }
            program = isOfBytes ? try ProgramWithBytes(file, manifest, scratch) : try ProgramWithInputs(file, manifest)
        }

        public func bind(_ parameters: [String: Tensor]) throws -> any Run { try program.bind(parameters) }

        /// The same model with its default weights as constants, to compare with: a file at `path` of the bundle.
        public static func loadBaked(_ bundle: ModelBundle, _ path: String) throws -> any Run {
            Bound(forward: try Forward(bundle.file(path), bundle.manifest), weights: [])
        }
    }

    /// The generated parameters are further inputs of `forward`, after the model's own; one loaded module serves all versions.
    private final class ProgramWithInputs: Program {
        private let forward: Forward

        /// The slots in the order of the inputs that they are.
        private let slots: [Slot]

        init(_ file: URL, _ manifest: Manifest) throws {
            let first = manifest.inputs.count
            let indexed = try manifest.slots.map { slot in
                guard case .input(let index) = slot.binding else {
                    throw BundleError.unusable("\(slot.parameter) is no input of the program, as other parameters are")
                }
                return (index, slot)
            }.sorted { $0.0 < $1.0 }
            if indexed.map(\.0) != Array(first..<first + indexed.count) {
                throw BundleError.unusable("the generated parameters are not the inputs after the model's own")
            }
            slots = indexed.map(\.1)
            forward = try Forward(file, manifest)
        }

        func bind(_ parameters: [String: Tensor]) throws -> any Run {
            let weights = try slots.map { slot in
                guard let parameter = parameters[slot.parameter] else { throw BundleError.unusable("no value for \(slot.parameter)") }
                return try arranged(slot, parameter)
            }
            return Bound(forward: forward, weights: weights)
        }
    }

    /// The generated parameters are constants of the program: each version is a patched copy of it, under keys of its own because
    /// ExecuTorch's builds for Apple's systems cache weights by key, and the copy is deleted as soon as it is mapped.
    private final class ProgramWithBytes: Program {
        private static let suffix = ".version.pte"

        private let template: URL
        private let manifest: Manifest
        private let scratch: URL

        init(_ template: URL, _ manifest: Manifest, _ scratch: URL) throws {
            (self.template, self.manifest, self.scratch) = (template, manifest, scratch)
            try checkByteSlots(manifest)
            let files = FileManager.default
            do {
                try files.createDirectory(at: scratch, withIntermediateDirectories: true)
                // What an app left that was killed.
                for name in try files.contentsOfDirectory(atPath: scratch.path) where name.hasSuffix(Self.suffix) {
                    try files.removeItem(at: scratch.appendingPathComponent(name))
                }
            } catch {
                throw StorageError("cannot use \(scratch.path): \(error)")
            }
        }

        func bind(_ parameters: [String: Tensor]) throws -> any Run {
            let copy = scratch.appendingPathComponent(UUID().uuidString + Self.suffix)
            defer { try? FileManager.default.removeItem(at: copy) }
            do {
                try FileManager.default.copyItem(at: template, to: copy)
            } catch {
                throw StorageError("cannot write \(copy.path): \(error)")
            }
            try patch(copy, manifest.slots, parameters)
            return Bound(forward: try Forward(copy, manifest), weights: [])
        }
    }

    /// One version's weights, as the runtime wants them; never written after they were made.
    private struct Bound: Run {
        let forward: Forward
        let weights: [Tensor]

        func callAsFunction(_ inputs: [Tensor]) throws -> [Tensor] { try forward.run(inputs, weights) }
    }
#endif
