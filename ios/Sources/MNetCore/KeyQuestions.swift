/// When a phone asks for the server's keys, and which it believes; `roots` come with its app, `now` gives Unix seconds.
final class KeyQuestions: Sendable {
    private let roots: Roots?
    private let now: @Sendable () -> Int
    private let askedAt = Locked<Int?>(nil)

    init(_ roots: Roots?, now: @escaping @Sendable () -> Int) {
        (self.roots, self.now) = (roots, now)
    }

    /// The phone itself, or one that has yet to hear which keys the app's roots vouch for, if these are others than it knows.
    func asking(_ phone: Identity) -> Identity {
        guard let roots, roots.json != phone.roots?.json else { return phone }
        return phone.with(roots: roots, number: -1, epoch: -1)
    }

    /// As it enrolled; what the server then says of roots does not count where the app brings some.
    func enrolled(_ new: Identity) -> Identity { roots == nil ? new : new.with(roots: nil) }

    /// The phone with the server's keys, if a known one vouches for them: asked for where a key signed `jws` that this phone does not
    /// know, and once a day, so that a key that the server has retired is not believed much longer. nil where it knows them all.
    ///
    /// Throws `CloudError` only where there is an unknown one, or where the app's roots have yet to vouch for any.
    func learnt(_ client: CloudClient, _ phone: Identity, _ jws: String?) async throws -> Identity? {
        if isWaiting(phone) || jws.map({ !phone.keys.contains(signer($0)) }) == true { return try await ask(client, phone) }
        if let asked = askedAt.current, (0..<daySeconds).contains(now() - asked) { return nil }
        // Who keeps the statement from a phone can keep the release from it too.
        return try? await ask(client, phone)
    }

    private func isWaiting(_ phone: Identity) -> Bool { roots.map { $0.json != phone.roots?.json } ?? false }

    private func ask(_ client: CloudClient, _ phone: Identity) async throws -> Identity? {
        let statements = try await client.keyStatements(phone)
        askedAt.withLock { $0 = now() }
        let asking = asking(phone)
        let stated = KeyStatement.believed(statements, known: asking.keys, roots: asking.roots, now: now())
        guard let stated else {
            if isWaiting(phone) { throw CloudError.offline("no root key of this app vouches for the server's keys") }
            return nil
        }
        guard let learnt = try? asking.with(stated) else { return nil }
        return learnt.isNewer(than: asking) ? learnt : nil
    }
}
