import SwiftUI

/// The list, and which weights ranked it.
struct ListScreen: View {
    let recommender: Recommender

    var body: some View {
        List {
            Section {
                ForEach(recommender.lines) { line in
                    Button(line.title) { Task { await recommender.choose(line.id) } }
                }
            } header: {
                Text(recommender.version == 0 ? "For everybody" : "Yours, version \(recommender.version)")
            } footer: {
                Text(recommender.isStale ? "\(recommender.message). For a day, no server said that it is the newest." : recommender.message)
            }
            Section {
                Button("Start over") { recommender.reset() }
            }
        }
    }
}
