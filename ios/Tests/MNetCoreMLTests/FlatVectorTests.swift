import Foundation
import MNetVectors
import XCTest

@testable import MNetCore
@testable import MNetCoreML

final class FlatVectorTests: XCTestCase {
    /// The manifest of a bundle, with other slots, sealed again.
    private func manifest(_ slots: String) throws -> Manifest {
        let file = Vector.folder.appendingPathComponent("exported/ranker/manifest.json")
        var text = try String(contentsOf: file, encoding: .utf8)
        for (pattern, other) in [(#""slots":\[.*\],"target""#, "\"slots\":[\(slots)],\"target\""), (#""id":"[0-9a-f]{64}","#, "")] {
            let range = try XCTUnwrap(text.range(of: pattern, options: .regularExpression))
            text.replaceSubrange(range, with: other)
        }
        let id = sha256Hex(Data(text.utf8))
        let range = try XCTUnwrap(text.range(of: "\"inputs\":["))
        return try Manifest(parsing: Data(text.replacingCharacters(in: range, with: "\"id\":\"\(id)\",\"inputs\":[").utf8))
    }

    private func slot(_ name: String, _ offset: Int, _ size: Int, source: String = "input", vector: String = "w") -> String {
        """
        {"binding":{"kind":"slice","name":"\(vector)","offset":\(offset),"size":\(size),"source":"\(source)"},"dtype":"float32",\
        "layout":"O","pack_dtype":"float32","parameter":"\(name)","shape":[2]}
        """
    }

    func testEachParameterLiesAtItsOffsetAndTheRestIsZero() throws {
        let vector = try FlatVector(manifest("\(slot("a", 0, 2)),\(slot("b", 31, 2))"))
        XCTAssertEqual(vector.length, 64)
        XCTAssertEqual(vector.name, "w")
        XCTAssertEqual(vector.source, .input)
        let halves = try vector.filled(["a": Tensor([2], [1, -2] as [Float]), "b": Tensor([2], [0.5, 65504] as [Float])])
        var expected = [UInt16](repeating: 0, count: 64)
        (expected[0], expected[1], expected[31], expected[32]) = (0x3c00, 0xc000, 0x3800, 0x7bff)
        XCTAssertEqual(halves, expected)
    }

    func testWhatIsNotThereIsNoZero() throws {
        let vector = try FlatVector(manifest(slot("a", 0, 2, source: "state")))
        XCTAssertEqual(vector.source, .state)
        XCTAssertThrowsError(try vector.filled([:]))
        XCTAssertThrowsError(try vector.filled(["a": Tensor([1], [1] as [Float])]))
    }

    func testSlotsThatAreNotSlicesOfOneVectorAreRefused() throws {
        let exported = try ModelBundle(at: Vector.folder.appendingPathComponent("exported/ranker"))
        XCTAssertThrowsError(try FlatVector(exported.manifest))
        for slots in [
            slot("a", 0, 3), "\(slot("a", 0, 2)),\(slot("b", 2, 2, vector: "v"))", "\(slot("a", 0, 2)),\(slot("b", 2, 2, source: "state"))", "",
        ] {
            XCTAssertThrowsError(try FlatVector(manifest(slots)), slots)
        }
        for slots in [slot("a", 0, 0), slot("a", -1, 2), slot("a", 0, 2, source: "wish"), slot("a", 1 << 40, 2)] {
            XCTAssertThrowsError(try manifest(slots), slots)
        }
    }

    func testElementsAreFoundByTheirStrides() {
        XCTAssertEqual(offsets([2, 3], [4, 1]), [0, 1, 2, 4, 5, 6])
        XCTAssertEqual(offsets([2, 2], [1, 2]), [0, 2, 1, 3])
        XCTAssertEqual(offsets([], []), [0])
        XCTAssertEqual(offsets([0, 3], [3, 1]), [])
    }
}
