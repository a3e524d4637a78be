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

    func testALayoutOfAnotherShapeIsRefused() {
        for (shape, layout) in [([2, 3], "O"), ([2, 3], "OX"), ([2, 3], "OO"), ([1, 2, 3, 4, 5, 6], "OI")] {
            XCTAssertThrowsError(try arranged(slot(shape, layout), Tensor(shape, [Float]())))
        }
    }
}
