import Foundation
import MNetVectors

@testable import MNetCore

/// The bench of an app on the runtime at the other end of the desk, with the memory of this process.
func benched(_ desk: Desk, _ name: String, _ packs: [Data], swaps: Int) async throws -> JSONObject {
    var benchmark = Benchmark(
        Vector.folder.appendingPathComponent("exported/\(name)"), load: { DeskProgram(desk: desk, bundle: $0) },
        loadBaked: { bundle, _ in try bakedRun(desk, bundle) }, resident: residentBytes)
    // Each call crosses to the other process and back.
    (benchmark.warmUp, benchmark.rounds) = (20, 5)
    return try await benchmark.run(packs, swaps: swaps)
}

@Sendable
private func residentBytes() -> Int? {
    guard let status = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
    return status.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 4096 }
}
