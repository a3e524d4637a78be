import Foundation
import XCTest

@testable import MNetCore

final class JSONTests: XCTestCase {
    private func parse(_ text: String) throws -> JSON { try JSON(parsing: Data(text.utf8)) }

    func testValuesAreRead() throws {
        let text = #" {"a": [1, -2.5e1, true, null], "b": "\u00e9\n\ud83d\ude00", "": {}} "#
        let expected: JSON = .object([
            "a": .list([.integer(1), .number(-25), .bool(true), .null]), "b": .text("é\n😀"), "": .object([:]),
        ])
        XCTAssertEqual(try parse(text), expected)
        XCTAssertEqual(try parse("9223372036854775807"), .integer(.max))
        XCTAssertEqual(try parse("9223372036854775808"), .number(0x1p63))
        XCTAssertEqual(try parse("1e999").asDouble, .infinity)
    }

    func testWhatOnlyResemblesJSONIsRefused() {
        let wrong = [
            "", "{", "[1,]", "{\"a\":1,}", "{'a':1}", "01", "+1", "1.", ".5", "1e", "0x1", "NaN", "tru", "nullx", "[1] 2", "\"\n\"",
            #""\x""#, #""\u12g4""#, #""\ud800""#, #""\ud800\u0041""#, #""\udc00""#, "/* */ 1", "{\"e\u{301}\":1,\"\u{e9}\":2}",
            String(repeating: "[", count: 102) + String(repeating: "]", count: 102),
        ]
        for text in wrong { XCTAssertThrowsError(try parse(text), text) }
        XCTAssertThrowsError(try JSON(parsing: Data([0x22, 0xff, 0x22])))
    }

    func testWhatIsWrittenReadsTheSame() throws {
        let value: JSON = .object([
            "a": .list([.integer(-7), .number(0.1), .number(1e300), .bool(false), .null]), "\"\\\u{1}\u{1f}é😀": .text("\t"),
        ])
        XCTAssertEqual(try JSON(parsing: value.written()), value)
        XCTAssertThrowsError(try JSON.number(.infinity).written())
    }
}
