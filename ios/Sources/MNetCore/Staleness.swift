/// Whether the weights that a phone runs are known to be the newest; stale: for a day nobody vouched for it.
///
/// `report` hears when that changes; `now` gives Unix seconds.
final class Staleness: Sendable {
    /// How far what is kept may lag behind, in seconds.
    private static let savedEvery = 3600

    private struct State {
        var isStale = false
        var isCounted = false
        var until: Int
        var savedUntil: Int
    }

    private let store: WeightStore
    private let report: @Sendable (PhoneEvent) -> Void
    private let now: @Sendable () -> Int
    private let state: Locked<State>

    init(_ store: WeightStore, report: @escaping @Sendable (PhoneEvent) -> Void, now: @escaping @Sendable () -> Int) {
        (self.store, self.report, self.now) = (store, report, now)
        let (kept, latest) = (store.freshUntil, now() + daySeconds)
        // Where nothing is known, or a clock went back: a day.
        state = Locked(State(until: min(kept ?? latest, latest), savedUntil: kept ?? 0))
    }

    var isStale: Bool { state.current.isStale }

    /// Note that there is nothing newer than `asked`, if a known key says so.
    func hear(_ phone: Identity, asked: Int, _ statement: String) {
        // Any other statement is as good as none.
        guard
            let until = try? freshUntil(
                statement, keys: phone.keys, device: phone.device, bundle: phone.bundle, version: asked, now: now())
        else { return }
        fresh(until)
    }

    /// A phone that was just enrolled is fresh for a day.
    func startADay() { fresh(now() + daySeconds) }

    private func fresh(_ until: Int) {
        state.withLock { state in
            state.until = until
            if abs(until - state.savedUntil) < Self.savedEvery { return }
            // On a full disk it is asked for again after a restart.
            if (try? store.save(freshUntil: until)) != nil { state.savedUntil = until }
        }
    }

    /// Notice that `version` became stale, or fresh again, and have the server count it once, by `tell`.
    func look(_ version: Int, tell: () async -> Bool) async {
        let (change, tells) = state.withLock { state in
            let was = state.isStale
            state.isStale = now() >= state.until
            let change: PhoneEvent? = state.isStale == was ? nil : state.isStale ? .wentStale(version: version) : .becameFresh(version: version)
            return (change, (state.isStale || was) && !state.isCounted)
        }
        if let change { report(change) }
        let isHeard = tells ? await tell() : false
        state.withLock { $0.isCounted = $0.isStale && ($0.isCounted || isHeard) }
    }
}
