import Foundation
import MNetCore
import MNetVectors

/// Switch between resident packs on the real runtime: what served after each step, as `version name`, and whether the outputs of one
/// name are always the same, and those of two never.
func switches(_ desk: Desk, _ packs: [Data]) throws -> JSONObject {
    let bundle = try ModelBundle(at: Vector.folder.appendingPathComponent("exported/ranker"))
    let controller = try SwapController(bundle, DeskProgram(desk: desk, bundle: bundle))
    guard let sample = try bundle.golden().first, let (first, second) = packs.count == 2 ? (packs[0], packs[1]) : nil else {
        throw JudgeError("two packs are needed")
    }
    var served: [JSON] = []
    var outputs: [String: Data] = [:]
    var isTheSame = true
    func look() throws {
        let live = controller.live
        let name = "\(live.version) \(live.name ?? "-")"
        served.append(.text(name))
        let output = try live.run(sample.inputs).first?.data
        if let before = outputs[name], before != output { isTheSame = false }
        outputs[name] = output
    }
    try look()
    try controller.load("de", first)
    try look()
    for name in ["de", nil, "de"] {
        try controller.use(name)
        try look()
    }
    controller.unload("de")
    try look()
    do { try controller.use("de") } catch let absent as NotLoaded { served.append(.text(absent.description)) }
    try controller.swap(second)
    try look()
    try controller.load("fr", first)
    do { try controller.load("fr", first) } catch let refusal as Refused { served.append(.text(refusal.reason.rawValue)) }
    controller.reset()
    try look()
    return ["served": .list(served), "same": .bool(isTheSame), "different": .integer(Set(outputs.values).count)]
}
