import Foundation

/// The P-256 keys that a phone pinned when it enrolled, from a JWKS (RFC 7517).
public struct PublicKeys: Sendable {
    private static let coordinateBytes = 32

    public let jwks: JSONObject
    private let keys: [String: any VerifyingKey]

    /// Throws `JSONError` where `jwks` holds no such key or is not one.
    public init(_ jwks: JSONObject) throws {
        self.jwks = jwks
        let jwks = try jwks.objects("keys").filter { $0["kty"] == .text("EC") && $0["crv"] == .text("P-256") }
        keys = try Dictionary(jwks.map { (try $0.string("kid"), try Self.key($0)) }) { $1 }
        if keys.isEmpty { throw JSONError("no P-256 key in the JSON Web Key Set") }
    }

    /// The key of that `kid`; without one, the only key there is.
    func find(_ kid: JSON?) -> (any VerifyingKey)? {
        guard let kid, kid != .null else { return keys.count == 1 ? keys.first?.value : nil }
        return kid.asText.flatMap { keys[$0] }
    }

    /// How many there are, each of a name of its own.
    var count: Int { keys.count }

    func contains(_ kid: String?) -> Bool { kid.map { keys[$0] != nil } ?? false }

    /// These keys and others (JWK).
    func adding(_ others: [JSONObject]) throws -> PublicKeys {
        try PublicKeys(["keys": .list(jwks.list("keys") + others.map(JSON.object))])
    }

    private static func key(_ jwk: JSONObject) throws -> any VerifyingKey {
        guard let key = PlatformCryptography.publicKey(x: try coordinate(jwk, "x"), y: try coordinate(jwk, "y")) else {
            throw JSONError("not a point of P-256")
        }
        return key
    }

    /// The number at `name`, 32 bytes long.
    private static func coordinate(_ jwk: JSONObject, _ name: String) throws -> Data {
        guard let data = decodeBase64URL(try jwk.string(name)) else { throw JSONError("\(name) is not base64url") }
        let number = data.drop { $0 == 0 }
        if number.count > coordinateBytes { throw JSONError("\(name) is too long") }
        return Data(count: coordinateBytes - number.count) + number
    }
}

/// Offline keys: `threshold` of them must sign a statement of keys, and nothing else vouches for one.
public struct Roots: Sendable {
    public let keys: PublicKeys
    public let threshold: Int

    /// Read the `roots.json` of `mnet keys pin`, which an app ships. Throws `JSONError`.
    public init(parsing data: Data) throws {
        try self.init(parseJSONObject(data))
    }

    public init(_ fields: JSONObject) throws {
        keys = try PublicKeys(fields.child("keys"))
        threshold = try fields.integer("threshold")
        if !(1...keys.count).contains(threshold) { throw JSONError("a threshold of \(threshold)") }
    }

    var json: JSONObject { ["keys": .object(keys.jwks), "threshold": .integer(threshold)] }
}

/// A server's keys as of its statement `number`, which rises with each change of them. `epoch` rises when the keys before may be
/// in a thief's hands: nothing that they signed counts any more.
public struct KeyStatement: Sendable {
    /// The header's `typ`, so that no release passes for a statement (RFC 8725).
    private static let type = "mnet-keys+jwt"

    public let keys: PublicKeys
    public let number: Int
    public let epoch: Int

    /// The newest of these JWS that a phone may believe at `now`: by enough of its `roots` or, without such, by a known key.
    static func believed(_ statements: [String], known: PublicKeys, roots: Roots?, now: Int) -> KeyStatement? {
        var vouchers: [Substring: Set<String>] = [:]  // by the payload: who signed it
        var found: [Substring: KeyStatement] = [:]
        for jws in statements {
            // Others are signed by another key than the known ones.
            guard let statement = try? KeyStatement(verifying: jws, known: roots?.keys ?? known, now: now) else { continue }
            let payload = jws.split(separator: ".", omittingEmptySubsequences: false)[1]
            found[payload] = statement
            vouchers[payload, default: []].insert(signer(jws) ?? "")
        }
        let needed = roots?.threshold ?? 1
        let good = found.filter { vouchers[$0.key, default: []].count >= needed }.values
        return good.max { ($0.epoch, $0.number) < ($1.epoch, $1.number) }
    }

    /// Read the statement in `jws` at `now` (Unix seconds). Their numbers say which of two statements is newer, never a clock.
    ///
    /// Throws `Refused` with bad_signature unless one of the `known` keys signed it, or malformed.
    public init(verifying jws: String, known: PublicKeys, now: Int) throws {
        let signed = try verifySigned(jws, by: known)
        try malformed(if: signed.type != .text(Self.type) || signer(jws) == nil, "it is signed, but no statement of keys")
        let claims = try orMalformed("the statement of keys") { try parseJSONObject(signed.payload) }
        (keys, number, epoch) = try orMalformed("the statement of keys") {
            let issued = try claims.integer("iat")
            try malformed(if: issued > now + daySeconds, "the statement is of the future")
            let keys = try PublicKeys(["keys": .list(claims.objects("keys").map(JSON.object))])
            return (keys, try claims.integer("number"), claims["epoch"] == nil ? 0 : try claims.integer("epoch"))
        }
        let good = (0...maxVersion).contains(number) && (0...maxVersion).contains(epoch)
        try malformed(if: !good, "the statement has number \(number)")
    }
}
