import Foundation
import MNetCore
import MNetVectors

/// The owner of a phone: does with it what the steps of a conversation say.
final class Owner {
    private let desk: Desk
    private let bundle: ModelBundle
    private let state: URL
    private let clock = Clock()
    private var roots: Roots?
    private var phone: Phone?

    init(_ desk: Desk, _ state: URL) throws {
        (self.desk, self.state) = (desk, state)
        bundle = try ModelBundle(at: Vector.folder.appendingPathComponent("exported/ranker"))
    }

    /// Do a step against the server at `url`; the outcome, version and staleness that came of it.
    func judge(_ step: JSONObject, url: String) async throws -> JSONObject {
        clock.seconds = try step.integer("clock")
        for (name, content) in step["damaged"] == nil ? [:] : try step.child("damaged") {
            let file = state.appendingPathComponent(name)
            if let text = content.asText {
                try Data(text.utf8).write(to: file)
            } else {
                try FileManager.default.removeItem(at: file)
            }
        }
        if let changed = step["roots"] { roots = changed == .null ? nil : try Roots(changed.object(at: "roots")) }
        let what = try step.string("do")
        if what == "restart" { phone = nil }
        let phone = try phone ?? start()
        self.phone = phone
        guard let client = CloudClient(url) else { throw JudgeError("\(url) is no server's") }
        let outcome = try await outcome(phone, client, step)
        return ["outcome": .text(outcome), "version": .integer(phone.live.version), "stale": .bool(phone.isStale)]
    }

    private func start() throws -> Phone {
        let clock = clock
        return try Phone(
            bundle, DeskProgram(desk: desk, bundle: bundle), WeightStore(state), roots: roots, now: { clock.seconds })
    }

    private func outcome(_ phone: Phone, _ client: CloudClient, _ step: JSONObject) async throws -> String {
        do {
            switch try step.string("do") {
            case "poll": return try await phone.poll(client, waitSeconds: 0) ? "swapped" : "nothing"
            case "enrol": try await phone.enrol(client, enrolmentKey: "enrolment-key")
            case "upload": _ = try await phone.upload(client, .ids([1, 2, 3]))
            case "try": try phone.tryPack(Data(base64Encoded: try step.string("pack")) ?? Data())
            case "measure":
                for pair in try step.list("values") {
                    guard let pair = pair.asList, let metric = pair[0].asText, let value = pair[1].asDouble else {
                        throw JudgeError("not a metric and a value")
                    }
                    try phone.report(metric, value)
                }
            default: break
            }
        } catch CloudError.denied(let status, _) {
            return "denied \(status)"
        } catch is InvalidMeasurement {
            return "invalid"
        } catch is CloudError {
            return "offline"
        } catch let refusal as Refused {
            return "refused \(refusal.reason.rawValue)"
        }
        return "done"
    }
}

/// The time that the steps say.
private final class Clock: @unchecked Sendable {
    private let lock = NSLock()
    private var value = 0

    var seconds: Int {
        get { lock.withLock { value } }
        set { lock.withLock { value = newValue } }
    }
}
