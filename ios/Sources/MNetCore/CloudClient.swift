import Foundation

/// The answer to a poll: the newest `release` as JWS, or the signed statement that there is `nothingNewer`, if any.
public struct Newest: Sendable {
    public let release: String?
    public let nothingNewer: String?
}

/// The phone's side of the HTTP contract: one method a call; each throws `CloudError`.
public struct CloudClient: Sendable {
    /// The outcome of a release whose weights run.
    static let taken = "taken"

    /// That for a day nobody said that the running version is the newest.
    static let stale = "stale"

    // A download may take this long, and then as long as it needs at the least rate.
    private static let packTime = Duration.seconds(30)
    private static let leastBytesASecond = 8 * 1024
    private static let resumptions = 8

    private let http: HTTPClient

    /// `server` is a URL such as `https://mnet.example.org`; nil where it is none.
    public init?(_ server: String, transport: any Transport = URLSessionTransport()) {
        guard let http = HTTPClient(server, transport) else { return nil }
        self.http = http
    }

    /// Become known to the server as a phone that runs `bundle`.
    func enrol(_ enrolmentKey: String, bundle: String) async throws -> Identity {
        let answer = try await http.send("POST", "/devices", secret: enrolmentKey, .object(["bundle": .text(bundle)]))
        let ours: JSONObject = ["bundle": .text(bundle), "retired": .object(["keys": .list([])])]
        return try contract { try Identity(answer.merging(ours) { $1 }) }
    }

    /// Say that the phone now runs `bundle`, and no other.
    func install(_ phone: Identity, bundle: String) async throws {
        let body = JSON.object(["bundles": .list([.text(bundle)])])
        _ = try await http.send("PUT", "/devices/\(phone.device)/bundles", secret: phone.token, body)
    }

    /// Upload a context; returns the version that will stem from it.
    func upload(_ phone: Identity, _ samples: Samples) async throws -> Int {
        let body = JSON.object(["samples": samples.json])
        let answer = try await http.send("POST", "/devices/\(phone.device)/context", secret: phone.token, body)
        return try contract {
            let version = try answer.integer("version")
            if !(1...maxVersion).contains(version) { throw JSONError("version \(version)") }
            return version
        }
    }

    /// The newest release above version `after`; waits up to so many seconds for one.
    func newestRelease(_ phone: Identity, after: Int, waitSeconds: Int) async throws -> Newest {
        let query = "after=\(after)&timeout=\(waitSeconds)&bundle=\(phone.bundle)&keys=\(phone.number)"
        let path = "/devices/\(phone.device)/release?\(query)"
        return try await http.answered(path, secret: phone.token, within: .seconds(waitSeconds + 10)) { answer in
            if answer.status == 204 { return Newest(release: nil, nothingNewer: answer.header(nothingNewerHeader)) }
            let fields = try await HTTPClient.json(answer)
            return Newest(release: try contract { try fields.string("release") }, nothingNewer: nil)
        }
    }

    /// Tell the server what became of a release: `taken`, or the name of the refusal.
    func report(_ phone: Identity, version: Int, outcome: String) async throws {
        let body = JSON.object(["version": .integer(version), "outcome": .text(outcome), "bundle": .text(phone.bundle)])
        _ = try await http.send("POST", "/devices/\(phone.device)/reports", secret: phone.token, body)
    }

    /// Send what the app measured; the server keeps the largest count of each.
    func send(_ phone: Identity, _ totals: [Measured: Totals]) async throws {
        let rows = totals.sorted { $0.key < $1.key }.map { of, each in
            JSON.object([
                "version": .integer(of.version), "metric": .text(of.metric), "count": .integer(each.count),
                "sum": .number(each.sum), "squares": .number(each.squares),
            ])
        }
        let body = JSON.object(["bundle": .text(phone.bundle), "totals": .list(rows)])
        _ = try await http.send("PUT", "/devices/\(phone.device)/measurements", secret: phone.token, body)
    }

    /// The server's public keys, signed once by each of them.
    func keyStatements(_ phone: Identity) async throws -> [String] {
        try await http.answered("/keys", secret: phone.token) { answer in
            let fields = try await HTTPClient.json(answer)
            return try contract { try fields.texts("statements") }
        }
    }

    /// The `size` bytes of a pack; a cut download is resumed, a few times, after a pause.
    ///
    /// Throws `CloudError` where it takes longer than `size` may take at the least rate, `Refused` with wrong_size if the server
    /// sends another number of bytes; what they are is for the caller to check.
    func fetchPack(_ phone: Identity, sha256: String, size: Int) async throws -> Data {
        let end = ContinuousClock.now + Self.packTime + .seconds(size / Self.leastBytesASecond)
        let download = Locked(Data())
        var backoff = Backoff()
        var resumption = 0
        while true {
            let before = download.current.count
            do {
                try await fetchMore(phone, sha256, size, download, within: end - .now)
                let data = download.current
                if data.count < size { throw Refused(.wrongSize, "the pack is \(data.count) bytes, its release says \(size)") }
                return data
            } catch CloudError.offline(let detail) {
                if download.current.count <= before || resumption == Self.resumptions || Task.isCancelled {
                    throw CloudError.offline(detail)
                }
                resumption += 1
                try? await Task.sleep(for: min(backoff.next(), max(.zero, end - .now)))
            }
        }
    }

    private func fetchMore(
        _ phone: Identity, _ sha256: String, _ size: Int, _ download: Locked<Data>, within: Duration
    ) async throws {
        let have = download.current.count
        let headers = have > 0 ? ["Range": "bytes=\(have)-"] : [:]
        try await http.answered("/packs/\(sha256)", secret: phone.token, headers: headers, within: within) { answer in
            if answer.status != 206 { download.withLock { $0 = Data() } }  // all of it from the start
            for try await piece in answer.body {
                let count = download.withLock { data in
                    data.append(piece)
                    return data.count
                }
                if count > size { throw Refused(.wrongSize, "the pack is over the \(size) bytes of its release") }
            }
        }
    }
}

/// Waits that double up to a cap, each between half and all of itself, so that no fleet moves in step.
struct Backoff {
    private static let first = Duration.milliseconds(200)
    private static let cap = Duration.seconds(30)
    private var following = first

    mutating func next() -> Duration {
        let wait = following * Double.random(in: 0.5..<1)
        following = min(following * 2, Self.cap)
        return wait
    }

    mutating func reset() {
        following = Self.first
    }
}
