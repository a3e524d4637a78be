import Foundation
import MNetCore
import MNetVectors

/// Whoever started this process: commands come as lines of JSON, and so do the answers of the runtime that it runs for us.
final class Desk: @unchecked Sendable {
    private let lock = NSLock()

    /// The next command; nil at the end.
    func read() throws -> JSONObject? {
        try readLine().map { try parseJSONObject(Data($0.utf8)) }
    }

    func write(_ answer: JSONObject) throws {
        try FileHandle.standardOutput.write(contentsOf: JSON.object(answer).written() + Data("\n".utf8))
    }

    /// Ask for something in the middle of a command.
    func ask(_ question: JSONObject) throws -> JSONObject {
        try lock.withLock {
            try write(question)
            guard let answer = try read() else { throw JudgeError("nobody answers") }
            return answer
        }
    }
}

/// The real runtime of a bundle, at the other end of the desk.
struct DeskProgram: Program {
    let desk: Desk
    let bundle: ModelBundle

    func bind(_ parameters: [String: Tensor]) throws -> any Run {
        let answer = try desk.ask([
            "ask": .text("bind"), "bundle": .text(bundle.folder.lastPathComponent),
            "parameters": .object(parameters.mapValues(written)),
        ])
        return DeskRun(desk: desk, number: try answer.integer("run"))
    }
}

/// The runtime with the constant weights of a bundle.
func bakedRun(_ desk: Desk, _ bundle: ModelBundle) throws -> any Run {
    let answer = try desk.ask(["ask": .text("baked"), "bundle": .text(bundle.folder.lastPathComponent)])
    return DeskRun(desk: desk, number: try answer.integer("run"))
}

private struct DeskRun: Run {
    let desk: Desk
    let number: Int

    func callAsFunction(_ inputs: [Tensor]) throws -> [Tensor] {
        let answer = try desk.ask(["ask": .text("run"), "run": .integer(number), "inputs": .list(inputs.map(written))])
        return try answer.objects("outputs").map { output in
            guard let data = Data(base64Encoded: try output.string("data")) else { throw JudgeError("no base64") }
            let shape = try output.list("shape").compactMap(\.asInteger)
            return Tensor(DType(rawValue: try output.string("dtype")), shape, data)
        }
    }
}

private func written(_ tensor: Tensor) -> JSON {
    .object([
        "dtype": .text(tensor.dtype.rawValue), "shape": .list(tensor.shape.map(JSON.integer)),
        "data": .text(tensor.data.base64EncodedString()),
    ])
}
