import Foundation

/// The little that a phone needs of a library of cryptography: CryptoKit on Apple's systems, OpenSSL elsewhere.
protocol Cryptography: Sendable {
    /// The 32 bytes of the SHA-256 of `data`.
    static func sha256(_ data: Data) -> Data

    /// The P-256 key of these coordinates, 32 bytes each, big-endian; nil where they are no point of the curve.
    static func publicKey(x: Data, y: Data) -> (any VerifyingKey)?
}

/// A public key of ECDSA over P-256.
protocol VerifyingKey: Sendable {
    /// Whether `signature`, the 64 bytes `r || s`, is this key's for the SHA-256 of `data`.
    func isValid(_ signature: Data, for data: Data) -> Bool
}

/// SHA-256 in lower-case hex: the name of a pack.
public func sha256Hex(_ data: Data) -> String {
    PlatformCryptography.sha256(data).map { byte in
        let digits = String(byte, radix: 16)
        return digits.count == 1 ? "0\(digits)" : digits
    }.joined()
}

/// RFC 4648's base64url as RFC 7515 takes it: no padding, and one text for each value; nil for anything else.
public func decodeBase64URL(_ text: some StringProtocol) -> Data? {
    let known = text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }
    guard known else { return nil }
    let standard = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    let padding = String(repeating: "=", count: (4 - standard.utf8.count % 4) % 4)
    guard let data = Data(base64Encoded: standard + padding) else { return nil }
    // Bits that are left over at the end must be 0.
    return data.base64EncodedString() == standard + padding ? data : nil
}
