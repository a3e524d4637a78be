import Foundation

/// What `mnet bench` measures, in the process of an app: a folder's bundle, which has its files for the bench.
///
/// `load` loads its program, and `loadBaked` the same model with constant weights, of a path of the bundle. `resident` gives the bytes
/// that the process holds in memory, nil where nobody knows.
public struct Benchmark: Sendable {
    private static let instances = 4

    /// Inferences of each contender before any is timed, and after each swap.
    var warmUp = 200
    var rounds = 50

    private let folder: URL
    private let load: @Sendable (ModelBundle) async throws -> any Program
    private let loadBaked: @Sendable (ModelBundle, String) async throws -> any Run
    private let resident: @Sendable () -> Int?

    public init(
        _ folder: URL, load: @escaping @Sendable (ModelBundle) async throws -> any Program,
        loadBaked: @escaping @Sendable (ModelBundle, String) async throws -> any Run,
        resident: @escaping @Sendable () -> Int? = { nil }
    ) {
        (self.folder, self.load, self.loadBaked, self.resident) = (folder, load, loadBaked, resident)
    }

    /// Time so many swaps, inference before and after each, and loading; the entry of a `bench.json`, as `mnet report` reads it.
    ///
    /// The packs have the versions 1, 2, … and are swapped in one after the other; then everything is loaded again, since where the
    /// allocator puts a model moves its time. Throws `BundleError`, `Refused`, `StorageError` or what a runtime throws.
    public func run(_ packs: [Data], swaps: Int) async throws -> JSONObject {
        let bundle = try ModelBundle(at: folder)
        let described = try BenchedBundle(bundle)
        guard let sample = try bundle.golden().first, let size = packs.first?.count, swaps > 0 else {
            throw BundleError.unusable("a bench takes a golden sample, packs, and a number of swaps")
        }
        let memory = try await memory(bundle, described.baked, sample.inputs, packs)
        var figures = BenchFigures()
        var left = swaps
        while left > 0 {
            let some = Array(packs.prefix(left))
            try await timeLoading(sample.inputs, &figures)
            try await series(bundle, described.baked, some, &figures)
            left -= some.count
        }
        let rest: JSONObject = ["threads": .integer(1), "push_bytes": .integer(size), "memory": memory]
        return described.fields.merging(figures.fields) { $1 }.merging(rest) { $1 }
    }

    private func series(_ bundle: ModelBundle, _ baked: String, _ packs: [Data], _ figures: inout BenchFigures) async throws {
        let samples = try bundle.golden().map(\.inputs)
        let scales = bundle.manifest.outputs.map(\.scale)
        let controller = try SwapController(bundle, try await load(bundle))
        let constant = (try await loadBaked(bundle, baked), try await loadBaked(bundle, baked))
        let contenders: [(String, ([Tensor]) throws -> [Tensor])] = [
            ("baked", { try constant.0($0) }), ("control", { try constant.1($0) }), ("swappable", { try controller.live.run($0) }),
        ]
        /// All on the same inputs, one after the other; who goes first, and finds a colder cache, goes round.
        func infer(_ round: Int, keep: Bool) throws {
            for turn in contenders.indices {
                let (name, run) = contenders[(round + turn) % contenders.count]
                let started = ContinuousClock.now
                _ = try run(samples[round % samples.count])
                if keep { figures.note(name, since: started) }
            }
        }
        for round in 0..<warmUp { try infer(round, keep: false) }
        var before = probe(try controller.live.run(samples[0]), scales: scales)
        for pack in packs {
            let swap = try controller.swap(pack)
            let started = ContinuousClock.now
            let outputs = try controller.live.run(samples[0])
            figures.add(swap, andInference: .now - started)
            for round in 0..<rounds { try infer(round, keep: true) }
            let after = probe(outputs, scales: scales)
            figures.compare(after, expected: try readPack(pack, for: bundle.manifest).probe, before: before)
            before = after
        }
        try await timeWholeModel(bundle, baked, samples[0], &figures)
    }

    /// As an app does at its start, and then one inference.
    private func timeLoading(_ inputs: [Tensor], _ figures: inout BenchFigures) async throws {
        var started = ContinuousClock.now
        let opened = try ModelBundle(at: folder)
        started = figures.note("check_files", since: started)
        let controller = try SwapController(opened, try await load(opened))
        started = figures.note("load_and_self_test", since: started)
        _ = try controller.live.run(inputs)
        figures.note("next_inference", since: started)
    }

    /// What one would do instead of a swap: check the bytes of a whole model, load it, test it, and infer.
    private func timeWholeModel(_ bundle: ModelBundle, _ path: String, _ inputs: [Tensor], _ figures: inout BenchFigures) async throws {
        let started = ContinuousClock.now
        for file in files(of: path, in: bundle.manifest) {
            _ = sha256Hex(try Data(contentsOf: bundle.file(file), options: .mappedIfSafe))
        }
        let run = try await loadBaked(bundle, path)
        for _ in 0..<2 { _ = try run(inputs) }
        figures.note("whole_model effect", since: started)
    }

    /// Resident bytes, each beyond what was resident before; before anything else, so that the first instance is the first.
    private func memory(_ bundle: ModelBundle, _ path: String, _ inputs: [Tensor], _ packs: [Data]) async throws -> JSON {
        guard let before = resident() else { return .null }
        var kept: [any Run] = []
        func measured(_ run: any Run) throws -> Int {
            _ = try run(inputs)
            kept.append(run)
            return resident() ?? before
        }
        let controller = try SwapController(bundle, try await load(bundle))
        let first = try measured(controller.live.run)
        var (peak, swapped) = (first, first)
        for pack in packs {
            try controller.swap(pack)
            _ = try controller.live.run(inputs)
            swapped = resident() ?? swapped
            peak = max(peak, swapped)
        }
        var more = swapped
        for _ in 0..<Self.instances {
            more = try measured(SwapController(bundle, try await load(bundle)).live.run)
        }
        // Not counted: it may be the first to touch some of the runtime's code.
        let other = try measured(try await loadBaked(bundle, path))
        var constant = other
        for _ in 0..<Self.instances { constant = try measured(try await loadBaked(bundle, path)) }
        let parts = [
            "first_instance": first - before, "peak": peak - before, "further_instance": (more - swapped) / Self.instances,
            "constant_instance": (constant - other) / Self.instances,
        ]
        return withExtendedLifetime(kept) { .object(parts.mapValues { .integer(max(0, $0)) }) }
    }
}

/// What a manifest says of a bundle that only a bench reads.
private struct BenchedBundle {
    /// Where the model with constant weights lies.
    let baked: String
    let fields: JSONObject

    init(_ bundle: ModelBundle) throws {
        let manifest = bundle.manifest
        do {
            let content = try parseJSONObject(Data(contentsOf: bundle.file(Manifest.file)))
            let runtime = try content.child("runtime")
            baked = try content.child("bench").path("baked")
            fields = [
                "runtime": .text("\(try runtime.string("name")) \(try runtime.string("version")), in the app"),
                "target": .text(manifest.target), "model": .text(try content.child("model").string("name")),
                "generated_bytes": .integer(manifest.generatedBytes),
                "program_bytes": .integer(bytes(of: manifest.program, in: manifest)),
                "baked_program_bytes": .integer(bytes(of: baked, in: manifest)),
                "bundle_bytes": .integer(manifest.files.values.filter { $0.role == "device" }.reduce(0) { $0 + $1.size }),
            ]
        } catch let error as JSONError {
            throw BundleError.unusable("\(Manifest.file) breaks its schema: \(error)")
        }
    }
}

/// The files of a program, which is one or a folder of several.
private func files(of path: String, in manifest: Manifest) -> [String] {
    manifest.files.keys.filter { $0 == path || $0.hasPrefix("\(path)/") }.sorted()
}

private func bytes(of path: String, in manifest: Manifest) -> Int {
    files(of: path, in: manifest).reduce(0) { $0 + (manifest.files[$1]?.size ?? 0) }
}
