import Foundation
import XCTest

@testable import MNetCore

/// The client over a transport of the app's own, which here is a bad network.
final class CloudClientTests: XCTestCase {
    private let pack = Data((0..<1000).map { UInt8(truncatingIfNeeded: $0) })

    private func phone() throws -> Identity {
        let jwk = try XCTUnwrap(try KeyFile.jwk)
        return try Identity([
            "device": .text("d"), "bundle": .text("b"), "token": .text("t"), "number": .integer(0),
            "keys": .object(["keys": .list([jwk])]), "retired": .object(["keys": .list([])]),
        ])
    }

    private func client(_ network: Network) throws -> CloudClient {
        try XCTUnwrap(CloudClient("https://example.org", transport: network))
    }

    private func fetch(_ network: Network) async throws -> Data {
        try await client(network).fetchPack(phone(), sha256: sha256Hex(pack), size: pack.count)
    }

    func testACutDownloadIsResumed() async throws {
        let network = Network { [pack] request in
            let range = request.headers["Range"]
            let start = range.flatMap { Int($0.dropFirst("bytes=".count).dropLast()) } ?? 0
            return Reply(status: range == nil ? 200 : 206, body: pack[start..<min(start + 300, pack.count)], isCut: start + 300 < pack.count)
        }
        let fetched = try await fetch(network)
        XCTAssertEqual(fetched, pack)
        XCTAssertEqual(network.requests.map { $0.headers["Range"] }, [nil, "bytes=300-", "bytes=600-", "bytes=900-"])
    }

    func testADownloadThatBringsNothingMoreIsGivenUp() async throws {
        let network = Network { [pack] request in
            Reply(status: request.headers["Range"] == nil ? 200 : 206, body: request.headers["Range"] == nil ? pack.prefix(10) : Data(), isCut: true)
        }
        let error = await failure { _ = try await self.fetch(network) }
        guard case CloudError.offline = error else { return XCTFail("\(error)") }
        XCTAssertEqual(network.requests.count, 2)
    }

    func testAnotherNumberOfBytesIsRefused() async throws {
        for body in [pack.dropLast(), pack + Data([0])] {
            let error = await failure { _ = try await self.fetch(Network { _ in Reply(body: body) }) }
            XCTAssertEqual((error as? Refused)?.reason, .wrongSize)
        }
    }

    func testEachStatusHasItsError() async throws {
        let cases: [(Reply, String)] = [
            (Reply(status: 401, body: Data(#"{"detail": "who?"}"#.utf8)), "who? (HTTP 401)"),
            (Reply(status: 302, headers: ["Location": "https://elsewhere.example"]), "no reason is given (HTTP 302)"),
            (Reply(status: 429, headers: ["retry-after": "7"]), "the server asks to wait for 7 s"),
            (Reply(status: 503, headers: ["Retry-After": "99999999999"]), "the server asks to wait for 3600 s"),
            (Reply(status: 503, headers: ["Retry-After": "soon"]), "the server answered HTTP 503"),
            (Reply(status: 500), "the server answered HTTP 500"),
            (Reply(headers: ["Content-Encoding": "gzip"]), "the answer is compressed, which was not asked for"),
            (Reply(body: Data(count: 5_000_000)), "the answer is too long to be that of an mnet server"),
        ]
        for (reply, expected) in cases {
            let error = await failure { _ = try await self.client(Network { _ in reply }).keyStatements(self.phone()) }
            XCTAssertEqual("\(error)", expected)
        }
    }

    func testNothingThatNoHeaderCanCarryIsSent() async throws {
        let network = Network { _ in Reply() }
        let error = await failure { _ = try await self.client(network).enrol("a\nb", bundle: "b") }
        guard case CloudError.offline = error else { return XCTFail("\(error)") }
        XCTAssertEqual(network.requests.count, 0)
    }

    func testAServerThatNeverAnswersIsGivenUpInTime() async throws {
        let network = Network { _ in
            try await Task.sleep(for: .seconds(3600))
            return Reply()
        }
        let http = try XCTUnwrap(HTTPClient("https://example.org", network))
        let started = ContinuousClock.now
        let error = await failure { try await http.answered("/x", secret: "s", within: .milliseconds(50)) { _ in } }
        guard case CloudError.offline = error else { return XCTFail("\(error)") }
        XCTAssertLessThan(ContinuousClock.now - started, .seconds(20))
    }

    private func failure(_ work: () async throws -> Void) async -> any Error {
        do {
            try await work()
            return JSONError("nothing failed")
        } catch {
            return error
        }
    }
}

private struct Reply {
    var status = 200
    var headers: [String: String] = [:]
    var body = Data()
    var isCut = false
}

private final class Network: Transport {
    private let asked = Locked<[WebRequest]>([])
    private let answer: @Sendable (WebRequest) async throws -> Reply

    init(_ answer: @escaping @Sendable (WebRequest) async throws -> Reply) {
        self.answer = answer
    }

    var requests: [WebRequest] { asked.current }

    func send(_ request: WebRequest) async throws -> WebAnswer {
        asked.withLock { $0.append(request) }
        let reply = try await answer(request)
        let (body, pieces) = AsyncThrowingStream<Data, any Error>.makeStream()
        if !reply.body.isEmpty { pieces.yield(reply.body) }
        pieces.finish(throwing: reply.isCut ? StorageError("the connection ended") : nil)
        return WebAnswer(status: reply.status, headers: reply.headers, body: body)
    }
}
