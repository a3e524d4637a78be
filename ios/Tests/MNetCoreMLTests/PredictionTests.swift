#if canImport(CoreML)
    import Foundation
    import MNetCore
    import MNetCoreML
    import XCTest

    /// Real bundles on the real CoreML, where `MNET_IOS_BUNDLES` names a folder of them: each with its golden pack, if there is one.
    final class PredictionTests: XCTestCase {
        func testEveryBundleGivesItsGoldenOutputsAndTakesItsPack() async throws {
            guard let folder = ProcessInfo.processInfo.environment["MNET_IOS_BUNDLES"].map(URL.init(fileURLWithPath:)) else {
                throw XCTSkip("MNET_IOS_BUNDLES names no folder of bundles")
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { !$0.contains(".") }.sorted()
            XCTAssertFalse(names.isEmpty)
            for name in names {
                let bundle = try ModelBundle(at: folder.appendingPathComponent(name))
                let compiled = FileManager.default.temporaryDirectory.appendingPathComponent("mnet-\(UUID().uuidString)")
                // Which loads the program, and compares its outputs with the golden ones.
                let controller = try SwapController(bundle, try await CoreMLProgram.load(bundle, compiled: compiled))
                XCTAssertEqual(controller.live.version, 0, name)
                if let pack = try? Data(contentsOf: folder.appendingPathComponent("\(name).pack.safetensors")) {
                    try controller.swap(pack)
                    XCTAssertGreaterThan(controller.live.version, 0, name)
                }
            }
        }
    }
#endif
