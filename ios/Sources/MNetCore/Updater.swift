/// Keeps one phone up to date until its task is cancelled: enrols it where that is still to be done, then polls, whatever the
/// network does.
///
///     let updates = Task { await Updater(phone, client, enrolmentKey: key).run() }
public struct Updater: Sendable {
    private static let pollSeconds = 25

    private let phone: Phone
    private let client: CloudClient
    private let enrolmentKey: String

    public init(_ phone: Phone, _ client: CloudClient, enrolmentKey: String) {
        (self.phone, self.client, self.enrolmentKey) = (phone, client, enrolmentKey)
    }

    /// Returns when the task is cancelled.
    public func run() async {
        var backoff = Backoff()
        var isConnected = false
        while !Task.isCancelled {
            var least = Duration.zero
            do {
                if isConnected { try await follow() } else { try await connect() }
                isConnected = true
                backoff.reset()
                continue
            } catch {
                if Task.isCancelled { return }
                isConnected = false
                if case CloudError.busy(let seconds) = error { least = .seconds(seconds) }
                phone.report(event(error))
            }
            try? await Task.sleep(for: max(least, backoff.next()))
        }
    }

    /// Look once, as a background task does, whose time the system bounds; returns whether new weights came.
    ///
    /// Throws as `Phone.enrol` and `Phone.poll` do.
    public func lookOnce() async throws -> Bool {
        if !phone.isEnrolled { try await phone.enrol(client, enrolmentKey: enrolmentKey) }
        return try await phone.poll(client, waitSeconds: 0)
    }

    /// One question that is answered at once, to tell the user that there is a server.
    private func connect() async throws {
        _ = try await lookOnce()
        phone.report(.connected)
    }

    private func follow() async throws {
        let started = ContinuousClock.now
        let came = try await phone.poll(client, waitSeconds: Self.pollSeconds)
        if !came && ContinuousClock.now - started < .seconds(Self.pollSeconds / 2) {
            // A server that stops, or something else.
            throw CloudError.offline("the poll was answered before its time")
        }
    }

    private func event(_ error: any Error) -> PhoneEvent {
        switch error {
        case CloudError.busy(let seconds): .mustWait(seconds: seconds)
        case CloudError.denied(let status, let detail): .wasDenied(status: status, detail: detail)
        case CloudError.offline(let detail): .wentOffline(detail)
        case let refusal as Refused: .refusedWeights(refusal)
        case let storage as StorageError: .failed("the disk: \(storage)")
        default: .failed("\(error)")
        }
    }
}
