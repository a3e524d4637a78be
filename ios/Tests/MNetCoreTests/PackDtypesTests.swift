import Foundation
import XCTest

@testable import MNetCore

final class PackDtypesTests: XCTestCase {
    func testEveryHalfIsTheFloatThatItIs() {
        XCTAssertEqual(halfToFloat(0x3c00), 1)
        XCTAssertEqual(halfToFloat(0x0001), 0x1p-24)
        XCTAssertEqual(halfToFloat(0xfbff), -65504)
        XCTAssertEqual(halfToFloat(0x7c00), .infinity)
        XCTAssert(halfToFloat(0x7e00).isNaN)
        for bits in UInt16.min...UInt16.max where !halfToFloat(bits).isNaN {
            XCTAssertEqual(floatToHalf(halfToFloat(bits)), bits)
        }
    }

    func testAFloatBecomesTheNearestHalf() {
        // Between two halves: below the middle, at it (to the even one), and above.
        for low in UInt16(0)..<0x7bff {
            let (below, above) = (halfToFloat(low), halfToFloat(low + 1))
            let middle = (below + above) / 2
            let even = low % 2 == 0 ? low : low + 1
            XCTAssertEqual(floatToHalf(middle.nextDown), low)
            XCTAssertEqual(floatToHalf(middle), even)
            XCTAssertEqual(floatToHalf(-middle.nextUp), low + 1 | 0x8000)
        }
        XCTAssertEqual(floatToHalf(Float(65520).nextDown), 0x7bff)
        XCTAssertEqual(floatToHalf(65520), 0x7c00)
        XCTAssert(halfToFloat(floatToHalf(.nan)).isNaN)
    }
}
