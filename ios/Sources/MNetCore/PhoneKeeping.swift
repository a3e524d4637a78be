import Foundation

/// What a phone believes, runs and keeps.
extension Phone {
    /// Run the default weights, over a restart too, until a newer version comes. Throws `StorageError`.
    public func reset() throws {
        try changing.withLock {
            let version = max(releaseVersion, state.current.newestSeen)
            state.withLock { $0.resetVersion = version }
            try store.save(resetVersion: version)
            controller.reset()
            state.withLock { $0.running = nil }
        }
    }

    /// Who this phone is; a damaged file is reported, and the phone serves as one that is not enrolled.
    func keptIdentity() -> Identity? {
        do {
            return try store.identity()
        } catch {
            report((error as? Refused).map(PhoneEvent.refusedWeights) ?? .failed("\(error)"))
            return nil
        }
    }

    func keep(_ new: Identity) throws {
        try changing.withLock {
            try store.save(new)
            state.withLock { $0.identity = new }
        }
    }

    /// Believe these keys only, unless another poll learnt newer ones; a full disk costs them at the next start, not now.
    func trust(_ learnt: Identity) {
        changing.withLock {
            guard let known = state.current.identity.map(keyQuestions.asking), learnt.isNewer(than: known) else { return }
            state.withLock { $0.identity = learnt }
            do {
                if learnt.epoch > known.epoch { try startOver() }
                try store.save(learnt)
            } catch {
                report(.failed("the disk: \(error)"))
            }
        }
    }

    /// Run nothing that a stolen key may have signed, and count versions from the start.
    private func startOver() throws {
        controller.reset()
        state.withLock { state in
            state.running = nil
            state.newestSeen = 0
            state.resetVersion = 0
        }
        refused.clear()
        try store.save(resetVersion: 0)
        store.clearVersions()
    }

    func verify(_ phone: Identity, _ jws: String, newerThan: Int, now: Int?) throws -> Release {
        // Who accepted a release while its key was good may run it now.
        let keys = now == nil ? (try? phone.keys.adding(phone.retired)) ?? phone.keys : phone.keys
        return try verifyRelease(jws, keys: keys, device: phone.device, bundle: bundle.id, newerThan: newerThan, now: now)
    }

    func swap(_ release: Release, _ pack: Data) throws {
        try checkBytes(pack, of: release)
        let version = try readPack(pack, for: bundle.manifest).version
        if version != release.version {
            throw Refused(.malformed, "release \(release.version) names a pack of version \(version)")
        }
        try controller.swap(pack)
    }

    /// Keep the version that now runs; a full disk costs it at the next start, not now.
    func persist(_ new: Kept, _ pack: Data) -> Bool {
        let before = state.withLock { state in
            let before = state.running
            state.running = new
            return before
        }
        return (try? store.save(new, pack: pack, running: before)) != nil
    }

    /// Swap in the newest kept version that passes every check again; without one, the default stays.
    func restore(_ phone: Identity) {
        let left = state.current.resetVersion
        for jws in store.releases() {
            do {
                let release = try verify(phone, jws, newerThan: 0, now: nil)
                state.withLock { $0.newestSeen = max($0.newestSeen, release.version) }
                if release.version <= left { continue }
                try swap(release, store.pack(of: release))
                state.withLock { $0.running = Kept(jws: jws, release: release) }
                return
            } catch {
                report((error as? Refused).map(PhoneEvent.refusedWeights) ?? .failed("\(error)"))
            }
        }
    }
}
