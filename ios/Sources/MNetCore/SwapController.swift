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

/// One version of the weights, ready to run. It never changes, so an inference belongs to one version. `name` is that of weights
/// that were loaded to be switched to; nil for those that were swapped in.
public struct Snapshot: Sendable {
    public let version: Int
    public let run: any Run
    public let name: String?
}

/// How long the parts of one swap took, as `export/session.py` names them.
public struct SwapTimes: Sendable {
    public let verify: Duration
    public let write: Duration
    public let selfTest: Duration
    public let publish: Duration

    public var total: Duration { verify + write + selfTest + publish }
}

/// There are no weights of the name to switch to.
public struct NotLoaded: Error, CustomStringConvertible {
    public let description: String
}

/// Serves a bundle's model while its weights are swapped under it; safe to use from several threads.
///
/// A swap binds and tests a new snapshot next to the live one and publishes it by assigning one reference, which every inference
/// reads once: it sees the old weights or the new ones, never a mixture.
///
/// Several packs, such as adapters, can be resident: `load` tests one and keeps it, `use` switches to it by the same assignment. Each
/// holds what the runtime needs for one version; how many there are is the app's to bound.
public final class SwapController: Sendable {
    private let manifest: Manifest
    private let program: any Program
    private let golden: [GoldenSample]
    private let standard: Snapshot
    private let weights: Locked<Weights>

    /// Held over a test of new weights, which takes its time; what serves changes under the other lock, in a moment.
    private let testing = NSLock()

    private struct Weights {
        var live: Snapshot
        var swapped: Snapshot
        var resident: [String: Snapshot] = [:]
    }

    /// Throws `BundleError`: `damaged` with self_test_failed where the outputs are not the golden ones.
    public init(_ bundle: ModelBundle, _ program: any Program) throws {
        manifest = bundle.manifest
        self.program = program
        golden = try bundle.golden()
        standard = Snapshot(version: 0, run: try program.bind(bundle.defaultWeights()), name: nil)
        weights = Locked(Weights(live: standard, swapped: standard))
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
    public var live: Snapshot { weights.withLock { $0.live } }

    /// The snapshot last swapped in, whether or not another is in `use`; the default before the first.
    public var swapped: Snapshot { weights.withLock { $0.swapped } }

    /// Check, self-test and publish a weight pack; on `Refused` or `StorageError`, the current ones keep serving.
    @discardableResult
    public func swap(_ pack: Data) throws -> SwapTimes {
        try testing.withLock {
            let (new, marks) = try tested(pack, newerThan: weights.withLock { $0.swapped.version }, name: nil)
            weights.withLock { weights in
                weights.swapped = new
                weights.live = new
            }
            return SwapTimes(
                verify: marks[1] - marks[0], write: marks[2] - marks[1], selfTest: marks[3] - marks[2], publish: .now - marks[3])
        }
    }

    /// Check and self-test a weight pack of a higher version than the one of this name, and keep it for `use`; what serves stays as it
    /// is. On `Refused` or `StorageError`, nothing changes.
    public func load(_ name: String, _ pack: Data) throws {
        try testing.withLock {
            let (new, _) = try tested(pack, newerThan: weights.withLock { $0.resident[name]?.version ?? -1 }, name: name)
            weights.withLock { $0.resident[name] = new }
        }
    }

    /// Serve the weights that were loaded under a name, from the next inference on; nil: those last swapped in. It costs one
    /// assignment. Throws `NotLoaded`.
    public func use(_ name: String?) throws {
        try weights.withLock { weights in
            guard let chosen = name == nil ? weights.swapped : name.flatMap({ weights.resident[$0] }) else {
                let names = weights.resident.keys.sorted().joined(separator: ", ")
                throw NotLoaded(description: "no weights are loaded as \(name ?? ""); there are \(names.isEmpty ? "none" : names)")
            }
            weights.live = chosen
        }
    }

    /// Forget the weights of a name; where they serve, they do so until the next `use` or `swap`.
    public func unload(_ name: String) {
        weights.withLock { $0.resident[name] = nil }
    }

    /// Serve the default weights again.
    public func reset() {
        testing.withLock {
            weights.withLock { weights in
                weights.swapped = standard
                weights.live = standard
            }
        }
    }

    /// A snapshot of a pack that passed all checks; and when that began, had checked the pack, had bound it and had run it.
    private func tested(_ pack: Data, newerThan: Int, name: String?) throws -> (Snapshot, [ContinuousClock.Instant]) {
        var marks = [ContinuousClock.now]
        let new = try readPack(pack, for: manifest)
        if new.version <= newerThan {
            throw Refused(.staleVersion, "the pack is version \(new.version), \(newerThan) is being served")
        }
        marks.append(.now)
        let run: any Run
        do {
            run = try program.bind(new.parameters)
        } catch let error as BundleError {
            throw Refused(.selfTestFailed, "the model does not load: \(error)")
        }
        marks.append(.now)
        try selfTest(run, new.probe)
        marks.append(.now)
        return (Snapshot(version: new.version, run: run, name: name), marks)
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
