#if canImport(CoreML)
    import Foundation
    import MNetCore
    import MNetCoreML
    import XCTest

    #if canImport(Darwin)
        @preconcurrency import Darwin
    #endif

    /// `mnet bench` on the device that runs this test: what loading, inference and swaps of bundles take on CoreML, as a `bench.json` for
    /// `mnet report`. The bundles are those of the folder that `python -m tests.coreml.bundles` wrote: named by `MNET_IOS_BUNDLES`, or,
    /// on a phone, in the test's own bundle as a folder reference `bundles`. Run it in a release build, on a phone at rest.
    final class BenchTests: XCTestCase {
        private static let swaps = 40

        func testWhatSwappingCosts() async throws {
            let named = ProcessInfo.processInfo.environment["MNET_IOS_BUNDLES"].map(URL.init(fileURLWithPath:))
            guard let folder = named ?? Bundle(for: BenchTests.self).url(forResource: "bundles", withExtension: nil) else {
                throw XCTSkip("MNET_IOS_BUNDLES names no folder of bundles")
            }
            var reports: [JSON] = []
            for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).filter({ !$0.contains(".") }).sorted() {
                let packs = try (1...).lazy.map { folder.appendingPathComponent("\(name).packs/\($0).pack") }
                    .prefix { FileManager.default.fileExists(atPath: $0.path) }.map { try Data(contentsOf: $0) }
                if packs.isEmpty { continue }
                let compiled = FileManager.default.temporaryDirectory.appendingPathComponent("mnet-\(UUID().uuidString)")
                defer { try? FileManager.default.removeItem(at: compiled) }
                let benchmark = Benchmark(
                    folder.appendingPathComponent(name), load: { try await CoreMLProgram.load($0, compiled: compiled) },
                    loadBaked: { try await CoreMLProgram.loadBaked($0, $1) }, resident: footprint)
                let before = conditions()
                let figures = try await benchmark.run(packs, swaps: Self.swaps)
                let during: JSONObject = ["before": .object(before), "after": .object(conditions())]
                reports.append(.object(figures.merging(["conditions": .object(during)]) { $1 }))
            }
            XCTAssertFalse(reports.isEmpty, "\(folder.path) holds no bundle with packs")
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("bench.json")
            try JSON.list(reports).written().write(to: file)
            print("bench: \(file.path)")
            #if canImport(Darwin)
                let attachment = XCTAttachment(contentsOfFile: file)
                attachment.lifetime = .keepAlways
                add(attachment)
            #endif
        }

        /// What slows a phone down, as it says itself.
        private func conditions() -> JSONObject {
            var found: JSONObject = ["system": .text(ProcessInfo.processInfo.operatingSystemVersionString)]
            #if canImport(Darwin)
                let states = ["nominal", "fair", "serious", "critical"]
                let state = ProcessInfo.processInfo.thermalState.rawValue
                found["thermal"] = .text(states.indices.contains(state) ? states[state] : "\(state)")
                found["low_power"] = .bool(ProcessInfo.processInfo.isLowPowerModeEnabled)
            #endif
            return found
        }
    }

    /// What the system counts as this process's memory.
    @Sendable
    private func footprint() -> Int? {
        #if canImport(Darwin)
            var info = task_vm_info_data_t()
            var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<integer_t>.size)
            let answer = withUnsafeMutablePointer(to: &info) { pointer in
                pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                    task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
                }
            }
            return answer == KERN_SUCCESS ? Int(info.phys_footprint) : nil
        #else
            return nil
        #endif
    }
#endif
