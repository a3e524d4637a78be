import Foundation
import MNetVectors

@testable import MNetCore

/// The key of the shared vectors.
enum KeyFile {
    static var jwk: JSON? {
        get throws {
            let content = try parseJSONObject(Data(contentsOf: Vector.folder.appendingPathComponent("vectors.json")))
            return try content.child("phone").child("keys").list("keys").first
        }
    }
}
