import Foundation

/// Who a phone is to its server: its id, the bundle that it said it runs, its secret token, and the public keys that it trusts.
///
/// `number` is that of the server's statement of these keys; `retired` are keys (JWK) that it stated before, good for what this
/// phone kept then and for nothing new. Where the server has `roots`, these alone vouch for other keys, and for an `epoch` in which
/// nothing counts that was signed before.
public struct Identity: Sendable {
    public let device: String
    public private(set) var bundle: String
    public let token: String
    public private(set) var keys: PublicKeys
    public private(set) var number: Int
    public private(set) var retired: [JSONObject]
    public private(set) var epoch: Int
    public private(set) var roots: Roots?

    /// From an answer, or a file that anybody may have changed. Throws `JSONError`.
    init(_ fields: JSONObject) throws {
        device = try fields.string("device")
        bundle = try fields.string("bundle")
        token = try fields.string("token")
        keys = try PublicKeys(fields.child("keys"))
        number = try fields.integer("number")
        retired = try fields.child("retired").objects("keys")
        epoch = fields["epoch"] == nil ? 0 : try fields.integer("epoch")
        roots = fields.given("roots") == nil ? nil : try Roots(fields.child("roots"))
        if !Self.isDevice(device) { throw JSONError("device is no id of a device") }
        if !(1...512).contains(token.utf8.count) || !canBeInHeader(token) { throw JSONError("token is none") }
        if !(0...maxVersion).contains(number) || !(0...maxVersion).contains(epoch) {
            throw JSONError("number or epoch is not 0 to \(maxVersion)")
        }
        if !retired.isEmpty { _ = try PublicKeys(fields.child("retired")) }
    }

    /// The same phone after an update of its app.
    func with(bundle: String) -> Identity {
        var changed = self
        changed.bundle = bundle
        return changed
    }

    /// The same phone after it learnt the server's keys as they are now. Without `roots` there is no other epoch: whoever has a
    /// signing key could open one.
    func with(_ statement: KeyStatement) throws -> Identity {
        var changed = self
        changed.keys = statement.keys
        changed.number = statement.number
        changed.epoch = roots == nil ? epoch : statement.epoch
        let stated = try statement.keys.jwks.objects("keys")
        changed.retired = []
        if changed.epoch <= epoch {
            for key in try keys.jwks.objects("keys") + retired where !stated.contains(key) && !changed.retired.contains(key) {
                changed.retired.append(key)
            }
        }
        return changed
    }

    /// The same phone with other `roots`, as one that has heard another statement of keys, or none.
    func with(roots: Roots?, number: Int? = nil, epoch: Int? = nil) -> Identity {
        var changed = self
        changed.roots = roots
        changed.number = number ?? self.number
        changed.epoch = epoch ?? self.epoch
        return changed
    }

    /// Whether it knows a newer statement of the server's keys.
    func isNewer(than other: Identity) -> Bool { (epoch, number) > (other.epoch, other.number) }

    /// As `init` takes it.
    var json: JSON {
        .object([
            "device": .text(device), "bundle": .text(bundle), "token": .text(token), "keys": .object(keys.jwks),
            "number": .integer(number), "retired": .object(["keys": .list(retired.map(JSON.object))]), "epoch": .integer(epoch),
            "roots": roots.map { .object($0.json) } ?? .null,
        ])
    }

    private static func isDevice(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count) && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    }
}

/// Whether a header can carry a text as a secret: visible ASCII, without blanks.
public func canBeInHeader(_ text: String) -> Bool { text.utf8.allSatisfy { (0x21...0x7e).contains($0) } }
