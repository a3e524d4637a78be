import Foundation
import MNetCore
import MNetVectors

/// A phone whose app brings weights of its own: `own`, and `tried`, which `tryPack` gets. What answered after each step, as
/// `version name`, with the first output, and whether a value that is reported then is kept.
struct OwnWeights {
    let desk: Desk
    let url: String
    let state: URL

    func live(_ own: Data, _ tried: Data) async throws -> JSONObject {
        let bundle = try ModelBundle(at: Vector.folder.appendingPathComponent("exported/ranker"))
        guard let client = CloudClient(url), let sample = try bundle.golden().first else { throw JudgeError("no server, or no sample") }
        var steps: [JSON] = []
        func look(_ step: String, _ phone: Phone) throws {
            let (live, before) = (phone.live, try kept())
            try phone.report("clicked", 1)
            let outputs = try live.run(sample.inputs).first?.floats() ?? []
            steps.append(.object([
                "step": .text(step), "served": .text("\(live.version) \(live.name ?? "-")"), "counts": .bool(try kept() != before),
                "outputs": .list(outputs.map { .number(Double($0)) }),
            ]))
        }
        func start() throws -> Phone { try Phone(bundle, DeskProgram(desk: desk, bundle: bundle), WeightStore(state)) }
        do {
            let phone = try start()
            do { try phone.use("mine") } catch is NotLoaded { try look("nothing is loaded", phone) }
            try phone.load("mine", own)
            try look("load", phone)
            try phone.use("mine")
            try look("use", phone)
            try await phone.enrol(client, enrolmentKey: "key")
            if try await phone.poll(client, waitSeconds: 0) { try look("poll", phone) }
            try phone.use("mine")
            try look("use again", phone)
            phone.unload("mine")
            try look("unload", phone)
            try phone.use(nil)
            try look("use nothing", phone)
            try phone.tryPack(tried)
            try look("try a pack", phone)
        }
        let again = try start()
        try look("restart", again)
        try again.tryPack(tried)
        try again.reset()
        let left = try String(contentsOf: state.appendingPathComponent("reset"), encoding: .utf8)
        return ["steps": .list(steps), "left": .text(left)]
    }

    /// What waits to be sent to the server.
    private func kept() throws -> Data? {
        let file = state.appendingPathComponent("measurements.json")
        return FileManager.default.fileExists(atPath: file.path) ? try Data(contentsOf: file) : nil
    }
}
