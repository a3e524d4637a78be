import Foundation

/// The signed statement "device D, bundle B: version V is pack P". `sha256` and `size` (bytes) name the pack; `issuedAt` and
/// `expiresAt` are Unix seconds.
public struct Release: Hashable, Sendable {
    public let device: String
    public let bundle: String
    public let version: Int
    public let sha256: String
    public let size: Int
    public let issuedAt: Int
    public let expiresAt: Int

    public init(
        device: String, bundle: String, version: Int, sha256: String, size: Int, issuedAt: Int, expiresAt: Int
    ) {
        (self.device, self.bundle, self.version, self.sha256, self.size) = (device, bundle, version, sha256, size)
        (self.issuedAt, self.expiresAt) = (issuedAt, expiresAt)
    }
}

/// The largest version of a release or a pack, on every phone and server.
let maxVersion = Int(Int32.max)

/// The release that a JWS (RFC 7515, compact) states, after every check that needs no pack.
///
/// `now` is in Unix seconds; nil leaves out the expiry, for a release that was accepted while it was valid. Throws `Refused` with
/// bad_signature, malformed, wrong_device, wrong_bundle, stale_version or expired.
public func verifyRelease(
    _ jws: String, keys: PublicKeys, device: String, bundle: String, newerThan: Int, now: Int?
) throws -> Release {
    let release = try readRelease(verifySigned(jws, by: keys).payload)
    if release.device != device {
        throw Refused(.wrongDevice, "the release is for device \(release.device), this is \(device)")
    }
    if release.bundle != bundle {
        throw Refused(.wrongBundle, "the release is for bundle \(release.bundle), this runs \(bundle)")
    }
    if release.version <= newerThan {
        throw Refused(.staleVersion, "version \(release.version) does not follow version \(newerThan)")
    }
    if let now, now >= release.expiresAt {
        throw Refused(.expired, "version \(release.version) expired at \(release.expiresAt), it is \(now)")
    }
    return release
}

/// Refuse bytes that are not the pack that a release names: wrong_size or wrong_hash.
public func checkBytes(_ pack: Data, of release: Release) throws {
    if pack.count != release.size {
        throw Refused(.wrongSize, "the pack is \(pack.count) bytes, its release says \(release.size)")
    }
    let digest = sha256Hex(pack)
    if digest != release.sha256 {
        throw Refused(.wrongHash, "the pack is \(digest), its release says \(release.sha256)")
    }
}

private func readRelease(_ payload: Data) throws -> Release {
    let release = try orMalformed("the release") {
        let claims = try parseJSONObject(payload)
        return Release(
            device: try claims.string("sub"), bundle: try claims.string("bundle"), version: try claims.integer("version"),
            sha256: try claims.string("sha256"), size: try claims.integer("size"), issuedAt: try claims.integer("iat"),
            expiresAt: try claims.integer("exp"))
    }
    let good = (1...maxVersion).contains(release.version) && release.size >= 1 && isSHA256(release.sha256)
    try malformed(
        if: !good, "versions are 1 to \(maxVersion), sizes start at 1, sha256 is 64 lower-case hex digits")
    return release
}

func isSHA256(_ text: some StringProtocol) -> Bool {
    text.utf8.count == 64 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
}
