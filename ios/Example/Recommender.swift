import Foundation
import MNetCore
import MNetCoreML
import Observation

/// What the screen shows: the list of one user, by the weights that run now.
@MainActor
@Observable
final class Recommender {
    /// One line of the list, best first.
    struct Line: Identifiable, Sendable {
        let id: Int
        let title: String
        let score: Float
    }

    private(set) var lines: [Line] = []
    private(set) var version = 0
    private(set) var isStale = false
    private(set) var message = "The weights that came with the app"

    private let phone: Phone
    private let updater: Updater
    private let client: CloudClient
    private let titles: [Int: String]
    private let historyLength: Int
    private var policy: any RequestPolicy
    private var history: [Int] = []

    /// Opens `Model.bundle`, a folder of the app, and `titles.json`, the names of its items by their ids.
    init(settings: Settings) async throws {
        let model = try ModelBundle(at: settings.bundle)
        let program = try await CoreMLProgram.load(model, compiled: settings.caches)
        let (events, happened) = AsyncStream<PhoneEvent>.makeStream()
        phone = try Phone(model, program, WeightStore(settings.state)) { happened.yield($0) }
        guard let client = CloudClient(settings.server) else { throw SettingsError(settings.server) }
        self.client = client
        updater = Updater(phone, client, enrolmentKey: settings.enrolmentKey)
        policy = try requestPolicy("shift", bundle: model, state: settings.state)
        titles = settings.titles
        historyLength = model.manifest.inputs.first?.shape.last ?? 0
        version = phone.live.version
        Task { [weak self] in
            for await event in events { self?.show(event) }
        }
    }

    /// Keep the weights up to date while the app is in front; ends with its task.
    func follow() async {
        await updater.run()
    }

    /// What a background task does, in the seconds that iOS gives it.
    func lookOnce() async {
        _ = try? await updater.lookOnce()
    }

    /// The user chose an item: rank all by what was chosen of late, and ask for weights where the user has shifted.
    func choose(_ item: Int) async {
        history.append(item)
        rank()
        let context = Samples.ids(Array(history.suffix(historyLength)))
        guard let asks = try? policy.asks(context) else { return }
        let isUploaded = asks ? (try? await phone.upload(client, context)) != nil : false
        try? policy.wentOn(context, asked: isUploaded)
    }

    /// Run the weights that came with the app, until newer ones come.
    func reset() {
        try? phone.reset()
        rank()
    }

    private func rank() {
        let live = phone.live  // once: the list and the number belong to one version
        let recent = Array(repeating: 0, count: historyLength) + history
        let candidates = titles.keys.sorted()
        let inputs = [
            Tensor([1, historyLength], recent.suffix(historyLength).map(Int64.init)),
            Tensor([1, candidates.count], candidates.map(Int64.init)),
        ]
        guard let scores = try? live.run(inputs).first?.floats(), scores.count == candidates.count else { return }
        let found = zip(candidates, scores).map { Line(id: $0, title: titles[$0] ?? "Item \($0)", score: $1) }
        lines = Array(found.sorted { $0.score > $1.score }.prefix(20))
        version = live.version
    }

    private func show(_ event: PhoneEvent) {
        isStale = phone.isStale
        switch event {
        case .swapped(let version, _, _, _, _): message = "Weights of version \(version)"
        case .refusedWeights(let refusal): message = "Refused: \(refusal.reason.rawValue)"
        case .wentOffline: message = "No server: the list stays as it is"
        default: return
        }
        rank()
    }
}

/// Where the app finds what it needs.
struct Settings: Sendable {
    let bundle: URL
    let state: URL
    let caches: URL
    let server: String
    let enrolmentKey: String
    let titles: [Int: String]
}

/// An address that is no server's.
struct SettingsError: Error {
    let server: String

    init(_ server: String) {
        self.server = server
    }
}
