// Judges the shared vectors and leads the shared conversations, as whoever started it says, a line of JSON each.
// `ios/hosttest/judge.py` is the other end.

import Foundation
import MNetCore
import MNetVectors

let desk = Desk()
let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("mnet-\(UUID().uuidString)")
var owner: Owner?

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
        try? FileManager.default.removeItem(at: scratch)
        owner = try Owner(desk, scratch)
        try desk.write([:])
    case "save":
        try saveForever(desk, in: URL(fileURLWithPath: try command.string("state")))
    case "kept":
        try desk.write(["kept": .integer(try newestKept(in: URL(fileURLWithPath: try command.string("state"))))])
    case "swap":
        guard let pack = Data(base64Encoded: try command.string("pack")) else { throw JudgeError("no base64") }
        try desk.write(try swapped(desk, command.string("bundle"), pack))
    case "bench":
        let packs = try command.list("packs").compactMap { $0.asText.flatMap { Data(base64Encoded: $0) } }
        try desk.write(try await benched(desk, command.string("bundle"), packs, swaps: command.integer("swaps")))
    case "patch":
        guard let pack = Data(base64Encoded: try command.string("pack")) else { throw JudgeError("no base64") }
        try desk.write(try patched(command.string("bundle"), pack))
    case "switches":
        let packs = try command.list("packs").compactMap { $0.asText.flatMap { Data(base64Encoded: $0) } }
        try desk.write(try switches(desk, packs))
    case "own":
        let packs = try command.list("packs").compactMap { $0.asText.flatMap { Data(base64Encoded: $0) } }
        guard packs.count == 2 else { throw JudgeError("two packs are needed") }
        let own = OwnWeights(desk: desk, url: try command.string("url"), state: scratch.appendingPathComponent("own"))
        try desk.write(try await own.live(packs[0], packs[1]))
    case "live", "follow":
        let hostile = Hostile(
            desk: desk, url: try command.string("url"), state: scratch.appendingPathComponent(try command.string("phone")),
            key: try command.string("key"), roots: try command["roots"].map { try Roots($0.object(at: "roots")) })
        if let conversations = command["conversations"]?.asInteger {
            try desk.write(try await hostile.live(conversations))
        } else {
            try desk.write(try await hostile.follow(until: command.integer("version")))
        }
    default:
        guard let owner else { throw JudgeError("no conversation was begun") }
        try desk.write(try await owner.judge(command.child("step"), url: command.string("url")))
    }
}
try? FileManager.default.removeItem(at: scratch)
