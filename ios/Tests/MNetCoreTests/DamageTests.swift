import Foundation
import MNetVectors
import XCTest

@testable import MNetCore

/// What is broken or hostile ends in an error that the phone's callers know; in Swift, a number that overflows would end the app.
final class DamageTests: XCTestCase {
    private let exported = Vector.folder.appendingPathComponent("exported/ranker")

    func testBytesThatWereChangedAtRandomAreReadOrRefused() throws {
        let manifest = try Manifest(parsing: Data(contentsOf: exported.appendingPathComponent(Manifest.file)))
        let weights = try Data(contentsOf: exported.appendingPathComponent("default.safetensors"))
        let policy = try Data(contentsOf: exported.appendingPathComponent("policy.safetensors"))
        var random = SystemRandomNumberGenerator()
        var refused = 0
        for _ in 0..<2000 {
            let seed = random.next()
            let readers: [(Data, (Data) throws -> Void)] = [
                (weights, { _ = try Safetensors($0).tensors() }), (weights, { _ = try readPack($0, for: manifest) }),
                (policy, { _ = try Shift(parsing: $0) }),
            ]
            for (data, read) in readers {
                do {
                    try read(changed(data, seed))
                } catch is Refused {
                    refused += 1
                } catch is BundleError {
                    refused += 1
                }
            }
        }
        XCTAssertGreaterThan(refused, 1000)
    }

    func testEveryNumberOfAManifestMayBeAnything() throws {
        for name in ["ranker", "convnet"] { try changeEveryNumber(of: name) }
    }

    private func changeEveryNumber(of name: String) throws {
        let file = Vector.folder.appendingPathComponent("exported/\(name)/\(Manifest.file)")
        let text = try String(contentsOf: file, encoding: .utf8)
        let numbers = ["-1", "0", "9223372036854775807", "-9223372036854775808", "1e999", "0.5", "null", "\"7\"", "2147483648"]
        let pieces = text.split(separator: ":", omittingEmptySubsequences: false)
        for index in pieces.indices where pieces[index].first?.isNumber == true || pieces[index].first == "[" {
            for number in numbers {
                var changed = pieces
                let end = changed[index].drop { $0.isNumber || $0 == "." || $0 == "[" }
                changed[index] = (changed[index].first == "[" ? "[" : "") + number + end
                if let sealed = sealed(changed.joined(separator: ":")) {
                    do { try checkByteSlots(Manifest(parsing: sealed)) } catch is BundleError {}
                }
            }
        }
    }

    func testFilesThatWereSealedWrongAreDamageOfTheBundle() throws {
        let golden = try Data(contentsOf: exported.appendingPathComponent("golden.safetensors"))
        let weights = try Data(contentsOf: exported.appendingPathComponent("default.safetensors"))
        try inScratch { assertThrows(try resealed($0, "default.safetensors", golden).defaultWeights(), is: BundleError.self) }
        for content in [weights, Data([1, 2, 3])] {
            try inScratch { assertThrows(try resealed($0, "golden.safetensors", content).golden(), is: BundleError.self) }
        }
    }

    func testAFullDiskCostsAPackThatIsTriedNotTheApp() throws {
        let good = try XCTUnwrap(try Vector.all().first { $0.name == "pack: good" })
        try inScratch { folder in
            let bundle = try ModelBundle(at: exported)
            let phone = try Phone(bundle, OneVersion(golden: try bundle.golden()), WeightStore(folder))
            assertThrows(try phone.tryPack(good.pack), is: StorageError.self)
            XCTAssertEqual(phone.live.version, 0)
        }
    }

    func testAModelThatGivesOtherOutputsIsDamage() throws {
        let bundle = try ModelBundle(at: exported)
        let golden = try bundle.golden().map { GoldenSample(inputs: $0.inputs, expected: [Tensor([1, 20], [Float](repeating: 0, count: 20))]) }
        assertThrows(try SwapController(bundle, OneVersion(golden: golden)), is: BundleError.self)
    }

    func testWhatIsNoServerIsNamedWhereItIsTypedIn() {
        for server in ["http://127.0.0.1:99999", "http://127.0.0.1:0", "ftp://example.org", "example", "http://", ""] {
            XCTAssertNil(CloudClient(server), server)
        }
        XCTAssertNotNil(CloudClient(" https://example.org/mnet/ "))
        XCTAssertTrue(canBeInHeader("aB3-_"))
        for key in ["a b", "é", "a\nb"] { XCTAssertFalse(canBeInHeader(key)) }
    }

    private func changed(_ data: Data, _ seed: UInt64) -> Data {
        var changed = data
        let at = Int(seed % UInt64(data.count))
        switch seed >> 32 % 4 {
        case 0: changed[at] ^= 1 << UInt8(seed >> 40 % 8)
        case 1: changed = data.prefix(at)
        case 2: changed.replaceSubrange(at..<at, with: Data("9999999999999999".utf8))
        default: changed.replaceSubrange(at..<min(at + 3, data.count), with: Data([0xff, 0x2d, 0x39]))
        }
        return changed
    }

    /// The text of a manifest with the id that it has now.
    private func sealed(_ text: String) -> Data? {
        guard let range = text.range(of: #""id":"[0-9a-f]{64}","#, options: .regularExpression) else { return nil }
        var unsealed = text
        unsealed.removeSubrange(range)
        let id = sha256Hex(Data(unsealed.utf8))
        return Data(text.replacingCharacters(in: range, with: "\"id\":\"\(id)\",").utf8)
    }

    /// The bundle with a file that holds other bytes, sealed as an exporter would.
    private func resealed(_ folder: URL, _ path: String, _ content: Data) throws -> ModelBundle {
        let copy = folder.appendingPathComponent("bundle")
        try FileManager.default.copyItem(at: exported, to: copy)
        try content.write(to: copy.appendingPathComponent(path))
        let text = try String(contentsOf: copy.appendingPathComponent(Manifest.file), encoding: .utf8)
        let file = try XCTUnwrap(try Manifest(parsing: Data(text.utf8)).files[path])
        let changed = text.replacingOccurrences(
            of: "\"sha256\":\"\(file.sha256)\",\"size\":\(file.size)",
            with: "\"sha256\":\"\(sha256Hex(content))\",\"size\":\(content.count)")
        try XCTUnwrap(sealed(changed)).write(to: copy.appendingPathComponent(Manifest.file))
        return try ModelBundle(at: copy)
    }

    private func assertThrows<Wanted: Error>(
        _ expression: @autoclosure () throws -> some Any, is: Wanted.Type, line: UInt = #line
    ) {
        XCTAssertThrowsError(try expression(), line: line) { XCTAssert($0 is Wanted, "\($0)", line: line) }
    }
}

/// A runtime that gives what it is told, and has no room for a second version.
private final class OneVersion: Program, Run {
    private let golden: [GoldenSample]
    private let isBound = Locked(false)

    init(golden: [GoldenSample]) {
        self.golden = golden
    }

    func bind(_ parameters: [String: Tensor]) throws -> any Run {
        let second = isBound.withLock { bound in
            defer { bound = true }
            return bound
        }
        if second { throw StorageError("full") }
        return self
    }

    func callAsFunction(_ inputs: [Tensor]) throws -> [Tensor] {
        golden.first { $0.inputs.map(\.data) == inputs.map(\.data) }?.expected ?? []
    }
}
