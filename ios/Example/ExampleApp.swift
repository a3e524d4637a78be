import BackgroundTasks
import Foundation
import SwiftUI

/// The id of the background task; `Info.plist` lists it under `BGTaskSchedulerPermittedIdentifiers`, and `fetch` under
/// `UIBackgroundModes`.
private let refreshTask = "org.example.mnet.refresh"

@main
struct ExampleApp: App {
    @State private var recommender: Recommender?
    @State private var failure: String?

    var body: some Scene {
        WindowGroup {
            if let recommender {
                ListScreen(recommender: recommender).task { await recommender.follow() }
            } else {
                Text(failure ?? "Loading the model").task { await start() }
            }
        }
        .backgroundTask(.appRefresh(refreshTask)) {
            scheduleRefresh()  // iOS forgets a task that ran
            await (try? Recommender.shared())?.lookOnce()
        }
    }

    private func start() async {
        do {
            recommender = try await Recommender.shared()
            scheduleRefresh()
        } catch {
            failure = "\(error)"
        }
    }
}

/// Ask iOS to wake the app in an hour or later; when it does is its own decision.
private func scheduleRefresh() {
    let request = BGAppRefreshTaskRequest(identifier: refreshTask)
    request.earliestBeginDate = Date(timeIntervalSinceNow: 3600)
    try? BGTaskScheduler.shared.submit(request)
}

extension Recommender {
    private static var opening: Task<Recommender, any Error>?

    /// The one of this process, in front and in the background: a store is for one phone at a time.
    static func shared() async throws -> Recommender {
        let task = opening ?? Task { try await Recommender(settings: .inApp()) }
        opening = task
        do {
            return try await task.value
        } catch {
            opening = nil
            throw error
        }
    }
}

extension Settings {
    /// The bundle as a folder reference among the app's resources; what the server sent, in the app's own container.
    static func inApp() throws -> Settings {
        let files = FileManager.default
        let support = try files.url(for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let caches = try files.url(for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        guard let resources = Foundation.Bundle.main.resourceURL else { throw SettingsError("no resources") }
        let names = try JSONDecoder().decode([String].self, from: Data(contentsOf: resources.appendingPathComponent("titles.json")))
        let titles = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($0 + 1, $1) })
        let info = Foundation.Bundle.main.infoDictionary
        return Settings(
            bundle: resources.appendingPathComponent("Model.bundle"), state: support.appendingPathComponent("mnet"),
            caches: caches.appendingPathComponent("mnet"), server: info?["MNetServer"] as? String ?? "",
            enrolmentKey: info?["MNetEnrolmentKey"] as? String ?? "", titles: titles)
    }
}
