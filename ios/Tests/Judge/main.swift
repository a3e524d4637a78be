// Judges the shared vectors and leads the shared conversations, as whoever started it says, a line of JSON each.
// `ios/hosttest/judge.py` is the other end.

import Foundation
import MNetCore
import MNetVectors

let desk = Desk()
var owner: Owner?
var state: URL?

while let command = try desk.read() {
    switch try command.string("do") {
    case "vectors":
        var verdicts = JSONObject()
        for vector in try Vector.all() {
            verdicts[vector.name] = .text(try vector.judge { DeskProgram(desk: desk, bundle: $0) })
        }
        try desk.write(["verdicts": .object(verdicts)])
    case "conversation":
        owner = nil
        if let state { try? FileManager.default.removeItem(at: state) }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mnet-\(UUID().uuidString)")
        state = folder
        owner = try Owner(desk, folder)
        try desk.write([:])
    default:
        guard let owner else { throw JudgeError("no conversation was begun") }
        try desk.write(try await owner.judge(command.child("step"), url: command.string("url")))
    }
}
if let state { try? FileManager.default.removeItem(at: state) }
