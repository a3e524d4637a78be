import MNetVectors
import XCTest

/// Every vector but those that need a runtime, which `tests/ios` lends to `Judge`.
final class VectorsTests: XCTestCase {
    func testThePhoneGivesTheVerdict() throws {
        for vector in try Vector.all() where vector.kind != "swap" {
            XCTAssertEqual(try vector.judge(), vector.verdict, vector.name)
        }
    }

    func testMostVectorsAreBad() throws {
        let vectors = try Vector.all()
        XCTAssertGreaterThanOrEqual(vectors.count, 200)
        XCTAssertGreaterThanOrEqual(vectors.filter { $0.kind != "asks" && $0.verdict != "accepted" }.count, 150)
    }
}
