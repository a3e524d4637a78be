import Foundation
import MNetCore
import MNetVectors

/// A phone whose server does whatever it likes; what comes of it may only be what a caller of the phone knows.
struct Hostile {
    let desk: Desk
    let url: String
    let state: URL
    let key: String
    let roots: Roots?

    /// Live through so many conversations; how many came to what, the slowest in milliseconds, and the version at the end.
    func live(_ conversations: Int) async throws -> JSONObject {
        let bundle = try ModelBundle(at: Vector.folder.appendingPathComponent("exported/ranker"))
        let phone = try Phone(bundle, DeskProgram(desk: desk, bundle: bundle), WeightStore(state), roots: roots)
        guard let client = CloudClient(url) else { throw JudgeError("\(url) is no server's") }
        var outcomes: [String: Int] = [:]
        var slowest = Duration.zero
        for number in 0..<conversations {
            let (started, before) = (ContinuousClock.now, phone.live.version)
            outcomes[try await attempt(phone, client, uploads: number % 7 == 3), default: 0] += 1
            slowest = max(slowest, .now - started)
            if phone.live.version < before { throw JudgeError("version \(before) went back") }
        }
        let scales = bundle.manifest.outputs.map(\.scale)
        guard let sample = try bundle.golden().first else { throw JudgeError("no golden sample") }
        let live = phone.live
        return [
            "outcomes": .object(outcomes.mapValues(JSON.integer)), "version": .integer(live.version),
            "slowest": .number(slowest / .seconds(1)),
            "probe": .list(probe(try live.run(sample.inputs), scales: scales).map(JSON.number)),
        ]
    }

    private func attempt(_ phone: Phone, _ client: CloudClient, uploads: Bool) async throws -> String {
        do {
            if !phone.isEnrolled {
                try await phone.enrol(client, enrolmentKey: key)
                return "enrolled"
            }
            if uploads {
                _ = try await phone.upload(client, .ids([1, 2, 3]))
                return "uploaded"
            }
            return try await phone.poll(client, waitSeconds: 0) ? "taken" : "nothing"
        } catch CloudError.denied {
            return "denied"
        } catch is CloudError {
            return "offline"
        } catch is Refused {
            return "refused"
        }
    }

    /// Follow the server with an `Updater` until a version runs, and end it by cancelling its task; what happened to the phone.
    func follow(until version: Int) async throws -> JSONObject {
        let bundle = try ModelBundle(at: Vector.folder.appendingPathComponent("exported/ranker"))
        let (events, happened) = AsyncStream<PhoneEvent>.makeStream()
        let phone = try Phone(bundle, DeskProgram(desk: desk, bundle: bundle), WeightStore(state), roots: roots) { happened.yield($0) }
        guard let client = CloudClient(url) else { throw JudgeError("\(url) is no server's") }
        let following = Task { await Updater(phone, client, enrolmentKey: key).run() }
        let impatience = Task {
            try await Task.sleep(for: .seconds(120))
            happened.finish()
        }
        var seen: [JSON] = []
        for await event in events {
            switch event {
            case .enrolled: seen.append(.text("enrolled"))
            case .swapped: seen.append(.text("swapped"))
            case .connected: seen.append(.text("connected"))
            default: seen.append(.text("\(event)"))
            }
            if phone.live.version == version, seen.contains(.text("connected")) { break }
        }
        impatience.cancel()
        let started = ContinuousClock.now
        following.cancel()
        await following.value
        return [
            "events": .list(seen), "version": .integer(phone.live.version), "ended_after": .number((.now - started) / .seconds(1)),
        ]
    }
}
