import Foundation
import MNetVectors
import XCTest

@testable import MNetCore

final class SlotsTests: XCTestCase {
    private func slot(_ shape: [Int], _ layout: String) -> Slot {
        Slot(
            parameter: "w", dtype: .float32, shape: shape, layout: layout, packDtype: .float32, binding: .input(index: 0))
    }

    func testPyTorchsOwnLayoutStays() throws {
        let given = Tensor([2, 3], (0..<6).map(Float.init))
        let tensor = try arranged(slot([2, 3], "OI"), given)
        XCTAssertEqual(tensor.shape, [2, 3])
        XCTAssertEqual(tensor.data, given.data)
    }

    func testDimensionsAreReordered() throws {
        let tensor = try arranged(slot([2, 3], "IO"), Tensor([2, 3], (0..<6).map(Float.init)))
        XCTAssertEqual(tensor.shape, [3, 2])
        XCTAssertEqual(tensor.floats(), [0, 3, 1, 4, 2, 5])
    }

    func testDimensionsOfSize1AreLeftOut() throws {
        let tensor = try arranged(slot([2, 3, 1, 1], "IO"), Tensor([2, 3, 1, 1], (0..<6).map(Float.init)))
        XCTAssertEqual(tensor.shape, [3, 2])
        XCTAssertEqual(tensor.floats(), [0, 3, 1, 4, 2, 5])
    }

    func testBytesAreWrittenWithTheKeysOfAllThatAKeyIsOf() throws {
        func slot(_ name: String, _ shape: [Int], _ layout: String, _ offset: Int, keys: [Int]) -> Slot {
            let size = shape.reduce(4, *)
            let place = BytesBinding(
                file: "program", offset: offset, size: size, keys: keys, hashedOffset: keys.isEmpty ? offset : 8,
                hashedSize: keys.isEmpty ? size : 24)
            return Slot(parameter: name, dtype: .float32, shape: shape, layout: layout, packDtype: .float32, binding: .bytes(place))
        }
        // The key is of both, and stands before them.
        let slots = [slot("w", [2, 2], "IO", 8, keys: [100, 200]), slot("b", [2], "O", 24, keys: [])]
        let parameters = ["w": Tensor([2, 2], [1, 2, 3, 4] as [Float]), "b": Tensor([2], [5, 6] as [Float])]
        try inScratch { folder in
            let copy = folder.appendingPathComponent("program")
            try Data(count: 300).write(to: copy)
            try patch(copy, slots, parameters)
            let found = try Data(contentsOf: copy)
            let values = Tensor([6], [1, 3, 2, 4, 5, 6] as [Float]).data
            let key = Data(sha256Hex(values).utf8)
            XCTAssertEqual(found, Data(count: 8) + values + Data(count: 68) + key + Data(count: 36) + key + Data(count: 36))
            XCTAssertThrowsError(try patch(copy, slots, ["w": parameters["w"]!]))
            XCTAssertThrowsError(try patch(copy, slots, parameters.merging(["b": Tensor([1], [5] as [Float])]) { $1 }))
            XCTAssertThrowsError(try patch(folder.appendingPathComponent("absent"), slots, parameters))
        }
    }

    func testALayoutOfAnotherShapeIsRefused() {
        for (shape, layout) in [([2, 3], "O"), ([2, 3], "OX"), ([2, 3], "OO"), ([1, 2, 3, 4, 5, 6], "OI")] {
            XCTAssertThrowsError(try arranged(slot(shape, layout), Tensor(shape, [Float]())))
        }
    }
}
