import Foundation
import MNetVectors
import XCTest

@testable import MNetCore

final class WeightStoreTests: XCTestCase {
    private func kept(_ version: Int, _ pack: Data) -> Kept {
        let release = Release(
            device: "d", bundle: "b", version: version, sha256: sha256Hex(pack), size: pack.count, issuedAt: 0, expiresAt: 1)
        return Kept(jws: "release \(version)", release: release)
    }

    private func names(_ folder: URL) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted()
    }

    func testTheCurrentVersionAndTheOneBeforeItAreKept() throws {
        try inScratch { folder in
            let store = try WeightStore(folder)
            var running: Kept?
            for version in 1...4 {
                let pack = Data("pack \(version)".utf8)
                let new = kept(version, pack)
                try store.save(new, pack: pack, running: running)
                XCTAssertEqual(try store.pack(of: new.release), pack)
                running = new
            }
            XCTAssertEqual(store.releases(), ["release 4", "release 3"])
            XCTAssertEqual(names(folder.appendingPathComponent("packs")).count, 2)
            XCTAssertThrowsError(try store.pack(of: kept(2, Data("pack 2".utf8)).release))
        }
    }

    func testADamagedPackIsRefused() throws {
        try inScratch { folder in
            let store = try WeightStore(folder)
            let (pack, packs) = (Data("pack".utf8), folder.appendingPathComponent("packs"))
            let new = kept(1, pack)
            try store.save(new, pack: pack, running: nil)
            try Data("pock".utf8).write(to: packs.appendingPathComponent("\(new.release.sha256).safetensors"))
            XCTAssertThrowsError(try store.pack(of: new.release)) { XCTAssertEqual(($0 as? Refused)?.reason, .wrongHash) }
        }
    }

    func testAPowerCutLeavesPartsThatTheNextVersionClears() throws {
        try inScratch { folder in
            let store = try WeightStore(folder)
            let packs = folder.appendingPathComponent("packs")
            let part = ".\(String(repeating: "a", count: 64)).safetensors.\(UUID().uuidString.lowercased()).tmp"
            for name in [part, "photo.jpg"] { try Data([1]).write(to: packs.appendingPathComponent(name)) }
            let pack = Data("pack".utf8)
            try store.save(kept(1, pack), pack: pack, running: nil)
            XCTAssertEqual(names(packs), [sha256Hex(pack) + ".safetensors", "photo.jpg"].sorted())
        }
    }

    func testTheFolderIsForOnePhoneAtATime() throws {
        try inScratch { folder in
            var first: WeightStore? = try WeightStore(folder)
            XCTAssertNotNil(first)
            XCTAssertThrowsError(try WeightStore(folder))
            first = nil
            XCTAssertNoThrow(try WeightStore(folder))
        }
    }

    func testAnothersFolderIsLeftAlone() throws {
        for (name, content) in [("mnet.db", ""), ("owner.json", "{\"mnet\":\"server\"}")] {
            try inScratch { folder in
                try Data(content.utf8).write(to: folder.appendingPathComponent(name))
                XCTAssertThrowsError(try WeightStore(folder))
                XCTAssertEqual(names(folder), [name])
            }
        }
    }

    func testALinkInPlaceOfAFileIsRefused() throws {
        try inScratch { folder in
            let elsewhere = folder.appendingPathComponent("elsewhere")
            let state = folder.appendingPathComponent("state")
            try FileManager.default.createDirectory(at: state, withIntermediateDirectories: true)
            try Data("mine".utf8).write(to: elsewhere)
            try FileManager.default.createSymbolicLink(
                at: state.appendingPathComponent("current.jws"), withDestinationURL: elsewhere)
            XCTAssertThrowsError(try WeightStore(state))
        }
    }

    func testWhatSomebodyWroteIntoTheFilesIsNoNumber() throws {
        try inScratch { folder in
            let store = try WeightStore(folder)
            for (text, fresh, reset) in [("x", nil, 0), ("1e400", nil, 0), ("-1e300", -1_000_000_000_000_000, 0), ("7", 7, 7)] {
                for name in ["fresh.json", "reset"] { try Data(text.utf8).write(to: folder.appendingPathComponent(name)) }
                XCTAssertEqual(store.freshUntil, fresh, text)
                XCTAssertEqual(store.resetVersion, reset, text)
            }
            try Data("[]".utf8).write(to: folder.appendingPathComponent("identity.json"))
            XCTAssertThrowsError(try store.identity())
        }
    }
}
