import Foundation

/// Why a call to the server gave nothing.
public enum CloudError: Error, CustomStringConvertible {
    /// The server cannot be reached, is in trouble, or something else answers for it; try again later.
    case offline(String)

    /// The server has enough to do, or enough of this phone: ask it nothing of the kind for so long.
    case busy(seconds: Int)

    /// The server answered that it will not do this; `status` is HTTP's.
    case denied(status: Int, detail: String)

    public var description: String {
        switch self {
        case .offline(let detail): detail
        case .busy(let seconds): "the server asks to wait for \(seconds) s"
        case .denied(let status, let detail): "\(detail) (HTTP \(status))"
        }
    }
}

/// HTTP to one server. Every call throws `CloudError`, and ends early where its task is cancelled.
struct HTTPClient: Sendable {
    private static let within = Duration.seconds(30)
    private static let maxWaitSeconds = 3600
    private static let maxAnswerBytes = 4 * 1024 * 1024

    private let base: String
    private let transport: any Transport

    /// `server` is a URL such as `https://mnet.example.org`; nil where it is none.
    init?(_ server: String, _ transport: any Transport) {
        let trimmed = server.trimmingCharacters(in: .whitespaces)
        guard let parts = URLComponents(string: trimmed), ["http", "https"].contains(parts.scheme), parts.host?.isEmpty == false,
            (1...65535).contains(parts.port ?? 80), parts.query == nil, parts.fragment == nil
        else { return nil }
        base = trimmed.hasSuffix("/") ? "\(trimmed.dropLast())/v1" : "\(trimmed)/v1"
        self.transport = transport
    }

    /// Send a JSON body; what is answered is an object, or nothing (204), which is an empty one.
    func send(_ method: String, _ path: String, secret: String, _ body: JSON) async throws -> JSONObject {
        guard let text = try? body.written() else { throw CloudError.offline("there is no JSON for what is to be sent") }
        return try await answered(path, secret: secret, method: method, body: text) { answer in
            answer.status == 204 ? [:] : try await Self.json(answer)
        }
    }

    /// What `read` makes of an answer of success, all of it within a time; all other answers become a `CloudError`.
    func answered<Value: Sendable>(
        _ path: String, secret: String, method: String = "GET", headers: [String: String] = [:], body: Data? = nil,
        within: Duration = Self.within, read: @escaping @Sendable (WebAnswer) async throws -> Value
    ) async throws -> Value {
        guard let url = URL(string: base + path), canBeInHeader(secret) else { throw CloudError.offline("no such request can be sent") }
        // Not compressed: of gzip, 2 KB can be 2 GB, and no range can be had.
        var all = ["Accept-Encoding": "identity", "Authorization": "Bearer \(secret)"].merging(headers) { $1 }
        if body != nil { all["Content-Type"] = "application/json" }
        let request = WebRequest(method: method, url: url, headers: all, body: body, patience: within)
        do {
            return try await finished(within: within) {
                let answer = try await transport.send(request)
                let encoding = answer.header("Content-Encoding") ?? "identity"
                if encoding != "identity" { throw CloudError.offline("the answer is compressed, which was not asked for") }
                try await Self.check(answer)
                return try await read(answer)
            }
        } catch let error as CloudError {
            throw error
        } catch let refusal as Refused {
            throw refusal
        } catch {
            throw CloudError.offline("\(error)")
        }
    }

    /// The object in an answer.
    static func json(_ answer: WebAnswer) async throws -> JSONObject {
        var body = Data()
        for try await piece in answer.body {
            body.append(piece)
            if body.count > maxAnswerBytes { throw CloudError.offline("the answer is too long to be that of an mnet server") }
        }
        let whole = body
        return try contract { try parseJSONObject(whole) }
    }

    private static func check(_ answer: WebAnswer) async throws {
        let status = answer.status
        if (200..<300).contains(status) { return }
        // In its form of seconds (RFC 9110); nobody can send a phone away for more than an hour.
        if status == 429 || status == 503, let seconds = answer.header("Retry-After").flatMap({ Int($0) }) {
            throw CloudError.busy(seconds: min(max(seconds, 0), maxWaitSeconds))
        }
        if !(300..<500).contains(status) || status == 429 { throw CloudError.offline("the server answered HTTP \(status)") }
        let detail = (try? await json(answer))?["detail"]?.asText
        throw CloudError.denied(status: status, detail: detail ?? "no reason is given")
    }

    /// A deadline for the whole exchange: a byte every few seconds passes any time-out of a single read, for hours.
    private func finished<Value: Sendable>(
        within limit: Duration, _ work: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        if limit <= .zero { throw CloudError.offline("the deadline of the whole exchange has passed") }
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await work() }
            group.addTask {
                try await Task.sleep(for: limit)
                return nil
            }
            guard let value = try await group.next() ?? nil else {
                throw CloudError.offline("the deadline of the whole exchange has passed")
            }
            return value
        }
    }
}

/// What does not read as the contract says comes from something else, such as a captive portal.
func contract<Value>(_ read: () throws -> Value) throws -> Value {
    do {
        return try read()
    } catch let error as JSONError {
        throw CloudError.offline("the answer is not that of an mnet server: \(error)")
    }
}
