import Foundation

/// The phone has to enrol first.
public struct NotEnrolled: Error {}

/// One phone: a model that serves, what it keeps over a restart, and what it knows of its server.
///
/// All may be called from any task, and none of it waits for another's network but `enrol` for `enrol`: of several polls that bring
/// the same version, one takes it. The same rules in the same order as `toolchain/phone/phone.py`.
public final class Phone: Sendable {
    /// Room for the header of a pack, in addition to its tensors.
    private static let packHeaderBytes = 64 * 1024

    struct State {
        var newestSeen = 0
        var resetVersion: Int

        /// Before it, the server takes no upload.
        var uploadsFrom = ContinuousClock.now
        var identity: Identity?

        /// The release that was last taken; nil on the default weights.
        var running: Kept?
    }

    let bundle: ModelBundle
    let store: WeightStore
    let controller: SwapController
    let keyQuestions: KeyQuestions
    let refused = RefusedPacks()
    let report: @Sendable (PhoneEvent) -> Void
    let now: @Sendable () -> Int
    let state: Locked<State>

    /// Held by whoever changes the weights, or who the phone is; never over the network.
    let changing = NSLock()
    private let enrolling = Turnstile()
    private let staleness: Staleness

    /// Serve what was kept in `store`, or else the bundle's own weights.
    ///
    /// `report` hears what happens, on any thread; `now` gives Unix seconds. Where the app brings `roots`, nothing is taken before
    /// they have vouched for the server's keys. Throws `BundleError` where the model does not give its golden outputs.
    public init(
        _ bundle: ModelBundle, _ program: any Program, _ store: WeightStore, roots: Roots? = nil,
        report: @escaping @Sendable (PhoneEvent) -> Void = { _ in },
        now: @escaping @Sendable () -> Int = { Int(Date().timeIntervalSince1970) }
    ) throws {
        (self.bundle, self.store, self.report, self.now) = (bundle, store, report, now)
        controller = try SwapController(bundle, program)
        staleness = Staleness(store, report: report, now: now)
        keyQuestions = KeyQuestions(roots, now: now)
        state = Locked(State(resetVersion: store.resetVersion))
        guard let known = keptIdentity() else { return }
        state.withLock { $0.identity = known }
        if known.bundle == bundle.id {
            restore(known)
        } else {
            // The app came with a new bundle: what the server sent for the old one fits no more.
            store.clearVersions()
        }
    }

    /// The weights that answer now, to run and to know their version by; 0 is the default pack. `use` chooses others.
    public var live: Snapshot { controller.live }

    /// The release that was last taken, and answers unless `use` chose other weights; nil on the default ones.
    public var running: Kept? { state.current.running }

    /// Whether for a day nobody vouched that the running version is the newest.
    public var isStale: Bool { staleness.isStale }

    /// Whether a server knows this phone with the bundle that it runs.
    public var isEnrolled: Bool { state.current.identity?.bundle == bundle.id }

    /// Only versions above this one are taken: the running one, or just below a newer one that was kept but is damaged. That one may
    /// come again, an older one may not. Nor may one that the user left by `reset`.
    private var newerThan: Int {
        let state = state.current
        return max(controller.swapped.version, state.newestSeen - 1, state.resetVersion)
    }

    /// The version of the release whose weights answer now; 0 where the default ones do, or the app's own.
    private var answering: Int {
        let (live, version) = (controller.live, releaseVersion)
        return live.name == nil && live.version == version ? version : 0
    }

    /// The version of the release that was last taken; 0 on the default weights.
    var releaseVersion: Int { state.current.running?.release.version ?? 0 }

    /// Become known to the server, and pin its keys; or, after an update of the app, known with the new bundle.
    ///
    /// Throws `CloudError` or `StorageError`.
    public func enrol(_ client: CloudClient, enrolmentKey: String) async throws {
        await enrolling.enter()
        do {
            try await enrolAlone(client, enrolmentKey)
        } catch {
            await enrolling.leave()
            throw error
        }
        await enrolling.leave()
    }

    private func enrolAlone(_ client: CloudClient, _ enrolmentKey: String) async throws {
        if isEnrolled { return }
        let new: Identity
        if let known = state.current.identity {
            try await client.install(known, bundle: bundle.id)
            new = known.with(bundle: bundle.id)
        } else {
            new = keyQuestions.enrolled(try await client.enrol(enrolmentKey, bundle: bundle.id))
        }
        try keep(new)
        staleness.startADay()
        report(.enrolled(device: new.device))
    }

    /// Upload a context; returns the version that will stem from it. Throws `CloudError`.
    ///
    /// A server that answers `busy` is not asked again before its time: until then this throws `busy` at once.
    public func upload(_ client: CloudClient, _ samples: Samples) async throws -> Int {
        let wait = (state.current.uploadsFrom - .now).components.seconds
        if wait > 0 { throw CloudError.busy(seconds: Int(wait)) }
        do {
            let version = try await client.upload(known(), samples)
            report(.uploaded(samples: samples.count, version: version))
            return version
        } catch CloudError.busy(let seconds) {
            state.withLock { $0.uploadsFrom = .now + .seconds(seconds) }
            throw CloudError.busy(seconds: seconds)
        }
    }

    /// Keep a value of the app's own metric, such as a click or a rating, for the release that answers at this moment.
    ///
    /// The next `poll` sends it, as part of the totals of that release. The default weights are of no release, nor are those that the
    /// app brought by `use` or `tryPack`: while these answer, nothing is kept.
    ///
    /// Throws `InvalidMeasurement` for what is no metric or value, `StorageError` where it cannot be kept.
    public func report(_ metric: String, _ value: Double) throws {
        try store.measurements.add(answering, metric, value)
    }

    /// Send what was measured, wait for a newer release and take it; returns whether one came.
    ///
    /// Throws `CloudError`, and `Refused` where the new weights fail a check: the running ones stay.
    public func poll(_ client: CloudClient, waitSeconds: Int) async throws -> Bool {
        let known = try known()
        await store.measurements.send(client, known)
        do {
            let took = try await look(client, known, waitSeconds)
            if !took { await lookAtAge(client) }
            return took
        } catch {
            await lookAtAge(client)
            throw error
        }
    }

    private func lookAtAge(_ client: CloudClient) async {
        let (phone, version) = (state.current.identity, releaseVersion)
        guard let phone else { return }
        await staleness.look(version) { await tell(client, phone, version, CloudClient.stale) }
    }

    private func look(_ client: CloudClient, _ known: Identity, _ waitSeconds: Int) async throws -> Bool {
        let above = newerThan
        var asked = max(above, refused.version)
        var newest = try await client.newestRelease(known, after: asked, waitSeconds: waitSeconds)
        if newest.release == nil && asked > above {
            // A roll-out that was stopped for its refusals gives way to the release before it.
            asked = above
            newest = try await client.newestRelease(known, after: asked, waitSeconds: 0)
        }
        let learnt = try await keyQuestions.learnt(client, known, newest.release)
        if let learnt { trust(learnt) }
        let phone = learnt ?? known
        if let jws = newest.release { return try await consider(client, phone, jws, above: above) }
        if let statement = newest.nothingNewer { staleness.hear(phone, asked: asked, statement) }
        return false
    }

    /// Take a release above a version, unless it was refused before, or somebody else took it meanwhile.
    private func consider(_ client: CloudClient, _ phone: Identity, _ jws: String, above: Int) async throws -> Bool {
        let release = try verify(phone, jws, newerThan: above, now: now())
        if refused.contains(release) || release.version <= newerThan { return false }
        let took: Bool
        do {
            took = try await take(client, phone, Kept(jws: jws, release: release))
        } catch let refusal as Refused {
            refused.note(release, refusal.reason)
            _ = await tell(client, phone, release.version, refusal.reason.rawValue)
            throw refusal
        }
        if took { _ = await tell(client, phone, release.version, CloudClient.taken) }
        return took
    }

    /// Fetch the pack of a verified release, swap it in and keep it.
    private func take(_ client: CloudClient, _ phone: Identity, _ new: Kept) async throws -> Bool {
        let release = new.release
        if release.size > bundle.manifest.generatedBytes + Self.packHeaderBytes {
            throw Refused(.wrongSize, "a pack of \(release.size) bytes is too large for this bundle")
        }
        let started = ContinuousClock.now
        let pack = try await client.fetchPack(phone, sha256: release.sha256, size: release.size)
        return try take(new, pack, fetch: .now - started)
    }

    /// False where another poll took it meanwhile, or the user left it by `reset`.
    private func take(_ new: Kept, _ pack: Data, fetch: Duration) throws -> Bool {
        try changing.withLock {
            if new.release.version <= newerThan { return false }
            let started = ContinuousClock.now
            try swap(new.release, pack)
            let swap = ContinuousClock.now - started
            let isPersisted = persist(new, pack)
            let version = new.release.version
            report(.swapped(version: version, bytes: pack.count, fetch: fetch, swap: swap, isPersisted: isPersisted))
            return true
        }
    }

    /// Run a pack that nobody signed until the next start, if it passes every other check; until then only releases of a higher version
    /// are taken. Throws `Refused` or `StorageError`.
    public func tryPack(_ pack: Data) throws {
        try controller.swap(pack)
    }

    /// Keep a pack that nobody signed, such as an adapter that came with the app, to be chosen by `use` until the next start. What
    /// answers stays as it is. The pack must pass the checks of every pack, and be newer than the one of that name.
    ///
    /// Throws `Refused` or `StorageError`; then nothing changes.
    public func load(_ name: String, _ pack: Data) throws {
        try controller.load(name, pack)
    }

    /// Let the weights that were loaded under a name answer, from the next inference on; nil: those of the last release. It costs one
    /// assignment. A release that is taken answers at once, whatever was chosen. Throws `NotLoaded`.
    public func use(_ name: String?) throws {
        try controller.use(name)
    }

    /// Forget the weights of a name; where they answer, they do so until the next `use` or the next release.
    public func unload(_ name: String) {
        controller.unload(name)
    }

    private func known() throws -> Identity {
        guard let identity = state.current.identity, identity.bundle == bundle.id else { throw NotEnrolled() }
        return identity
    }

    /// Tell the server what became of a release; whether it heard, on which the phone does not depend.
    private func tell(_ client: CloudClient, _ phone: Identity, _ version: Int, _ outcome: String) async -> Bool {
        (try? await client.report(phone, version: version, outcome: outcome)) != nil
    }
}
