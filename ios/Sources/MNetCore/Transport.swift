import Foundation

/// What a phone asks of its server.
public struct WebRequest: Sendable {
    public let method: String
    public let url: URL
    public let headers: [String: String]
    public let body: Data?

    /// A connection that brings nothing for so long may be given up; how long all may take, the caller watches.
    public let patience: Duration
}

/// What the server answers, its body still to come.
public struct WebAnswer: Sendable {
    public let status: Int
    private let headers: [String: String]

    /// Pieces of the body, as they come. Nobody reads on after the first error, or a reader that stopped.
    public let body: AsyncThrowingStream<Data, any Error>

    public init(status: Int, headers: [String: String], body: AsyncThrowingStream<Data, any Error>) {
        self.status = status
        self.headers = Dictionary(headers.map { ($0.key.lowercased(), $0.value) }) { $1 }
        self.body = body
    }

    /// The header of that name, however it is written.
    public func header(_ name: String) -> String? { headers[name.lowercased()] }
}

/// How HTTP is spoken: `URLSessionTransport` unless the app brings its own, such as one that pins certificates.
public protocol Transport: Sendable {
    /// Send a request as it is, without following redirections, caching or cookies, and return when the answer's head is there.
    /// Ends early where its task is cancelled. Any error means that the server could not be reached.
    func send(_ request: WebRequest) async throws -> WebAnswer
}
