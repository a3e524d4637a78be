import Foundation

/// One inference: the model's inputs, without the slots, give its outputs. What it holds of the weights is given back with it.
public protocol Run: Sendable {
    /// Throws for inputs that do not fit, and where the runtime fails.
    func callAsFunction(_ inputs: [Tensor]) throws -> [Tensor]
}

/// A loaded model file. What is bound stays bound: a later `bind` does not change the `Run` of an earlier one.
public protocol Program: Sendable {
    /// Throws `BundleError` where the runtime cannot, `StorageError` where the disk is full.
    func bind(_ parameters: [String: Tensor]) throws -> any Run
}

/// One version of the weights, ready to run. It never changes, so an inference belongs to one version.
public struct Snapshot: Sendable {
    public let version: Int
    public let run: any Run
}

/// Serves a bundle's model while its weights are swapped under it; safe to use from several threads.
///
/// A swap binds and tests a new snapshot next to the live one and publishes it by assigning one reference, which every inference
/// reads once: it sees the old weights or the new ones, never a mixture.
public final class SwapController: Sendable {
    private let manifest: Manifest
    private let program: any Program
    private let golden: [GoldenSample]
    private let standard: Snapshot
    private let published: Locked<Snapshot>
    private let swapping = NSLock()

    /// Throws `BundleError`: `damaged` with self_test_failed where the outputs are not the golden ones.
    public init(_ bundle: ModelBundle, _ program: any Program) throws {
        manifest = bundle.manifest
        self.program = program
        golden = try bundle.golden()
        standard = Snapshot(version: 0, run: try program.bind(bundle.defaultWeights()))
        published = Locked(standard)
        for sample in golden {
            let outputs: [Tensor]
            do {
                outputs = try standard.run(sample.inputs)
            } catch {
                throw BundleError.damaged(.selfTestFailed, "\(bundle.folder.path): the model does not run: \(error)")
            }
            if !agree(outputs, sample.expected) {
                throw BundleError.damaged(.selfTestFailed, "\(bundle.folder.path): outputs differ from the golden ones")
            }
        }
    }

    /// The snapshot that serves now; keep it to know which version an output belongs to.
    public var live: Snapshot { published.current }

    /// Check, self-test and publish a weight pack; on `Refused` or `StorageError`, the current ones keep serving.
    public func swap(_ pack: Data) throws {
        try swapping.withLock {
            let new = try readPack(pack, for: manifest)
            let serving = live.version
            if new.version <= serving {
                throw Refused(.staleVersion, "the pack is version \(new.version), \(serving) is being served")
            }
            let run: any Run
            do {
                run = try program.bind(new.parameters)
            } catch let error as BundleError {
                throw Refused(.selfTestFailed, "the model does not load: \(error)")
            }
            try selfTest(run, new.probe)
            published.withLock { $0 = Snapshot(version: new.version, run: run) }
        }
    }

    /// Serve the default weights again.
    public func reset() {
        swapping.withLock { published.withLock { $0 = standard } }
    }

    /// Catch a runtime that serves old weights: it must give what eager PyTorch gave for this pack.
    private func selfTest(_ run: any Run, _ expected: [Double]) throws {
        guard let sample = golden.first else { throw Refused(.selfTestFailed, "the bundle has no golden sample") }
        let outputs: [Tensor]
        do {
            outputs = try run(sample.inputs)
        } catch {
            throw Refused(.selfTestFailed, "the model does not run: \(error)")
        }
        if !outputs.allSatisfy({ $0.numbers().allSatisfy(\.isFinite) }) {
            throw Refused(.selfTestFailed, "an output is not finite under the new weights")
        }
        let actual = probe(outputs, scales: manifest.outputs.map(\.scale))
        // False for NaN, which makes it a failure.
        guard distance(actual, expected) <= manifest.golden.tolerance else {
            throw Refused(.selfTestFailed, "the outputs are not those of the pack's weights")
        }
    }

    private func agree(_ actual: [Tensor], _ expected: [Tensor]) -> Bool {
        actual.count == expected.count
            && actual.indices.allSatisfy { agree(actual[$0], expected[$0], scale: manifest.outputs[$0].scale) }
    }

    /// Whether no element is off by more than `tolerance * max(scale, largest magnitude expected)`; integers not at all.
    private func agree(_ actual: Tensor, _ expected: Tensor, scale: Double) -> Bool {
        if actual.shape != expected.shape || actual.dtype != expected.dtype { return false }
        let (ours, theirs) = (actual.numbers(), expected.numbers())
        if !expected.dtype.isFloat { return ours == theirs }
        let largest = largestMagnitude(theirs)
        let allowed = manifest.golden.tolerance * (largest > scale || largest.isNaN ? largest : scale)
        // An infinite allowance would pass any weights; `<=` is false for NaN, which makes it a failure.
        return allowed.isFinite && ours.count == theirs.count && zip(ours, theirs).allSatisfy { abs($0 - $1) <= allowed }
    }
}
