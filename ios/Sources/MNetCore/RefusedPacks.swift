/// The pack that was refused last, for good, or for an hour where the network damaged it often enough.
final class RefusedPacks: Sendable {
    /// These may be the network's doing; any other refusal of a release would come again.
    private static let damage: Set<Reason> = [.wrongSize, .wrongHash]

    /// So many downloads of what comes damaged an hour.
    private static let damagedDownloads = 5
    private static let hour = Duration.seconds(3600)

    private struct Named: Hashable {
        var version = 0
        var sha256 = ""
    }

    private struct State {
        var last = Named()

        /// nil where `last` was refused for good.
        var since: ContinuousClock.Instant?
        var damaged: [Named: Int] = [:]

        var version: Int {
            guard let since else { return last.version }
            return ContinuousClock.now - since < hour ? last.version : 0
        }
    }

    private let state = Locked(State())

    /// The version that need not be fetched now; 0 where there is none.
    var version: Int { state.withLock { $0.version } }

    func contains(_ release: Release) -> Bool {
        state.withLock { $0.version != 0 && $0.last == named(release) }
    }

    /// What was refused is not fetched again; what the network may have damaged, a few times an hour.
    func note(_ release: Release, _ reason: Reason) {
        let isDamage = Self.damage.contains(reason)
        state.withLock { state in
            if isDamage {
                let times = state.damaged[named(release), default: 0] + 1
                state.damaged[named(release)] = times
                if times < Self.damagedDownloads { return }
                state.damaged = [:]
            }
            state.last = named(release)
            state.since = isDamage ? ContinuousClock.now : nil
        }
    }

    func clear() {
        state.withLock { $0.last = Named() }
    }

    private func named(_ release: Release) -> Named { Named(version: release.version, sha256: release.sha256) }
}
