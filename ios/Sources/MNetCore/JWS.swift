import Foundation

private let algorithm = "ES256"
private let headerFields: Set<String> = ["alg", "kid", "typ"]

/// What a JWS (RFC 7515, compact) says, once its ES256 signature was found good; `type` is its header's `typ`.
struct Signed {
    let type: JSON?
    let payload: Data
}

/// Check the signature by one of `keys`; what the header asks for is never trusted. Throws `Refused` with bad_signature.
func verifySigned(_ jws: String, by keys: PublicKeys) throws -> Signed {
    let parts = jws.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3 else { throw badSignature("not three parts") }
    guard let header = decodeBase64URL(parts[0]), let payload = decodeBase64URL(parts[1]), let signature = decodeBase64URL(parts[2])
    else { throw badSignature("not base64url") }
    let fields: JSONObject
    do {
        fields = try parseJSONObject(header)
    } catch {
        throw badSignature("the header cannot be read: \(error)")
    }
    if fields["alg"] != .text(algorithm) { throw badSignature("alg is not \(algorithm)") }
    // Known ones only: an entry that changes what is signed (`b64`, `crit`) must not be overlooked.
    if !headerFields.isSuperset(of: fields.keys) { throw badSignature("the header has \(fields.keys.sorted())") }
    guard let key = keys.find(fields["kid"]) else { throw badSignature("no pinned key of that kid") }
    guard key.isValid(signature, for: Data("\(parts[0]).\(parts[1])".utf8)) else { throw badSignature("it does not match") }
    return Signed(type: fields["typ"], payload: payload)
}

/// The `kid` in a JWS's header, which nobody has verified yet; nil where there is none to read.
func signer(_ jws: String) -> String? {
    jws.split(separator: ".", omittingEmptySubsequences: false).first.flatMap(decodeBase64URL)
        .flatMap { try? parseJSONObject($0) }?["kid"]?.asText
}

private func badSignature(_ detail: String) -> Refused {
    Refused(.badSignature, "no good \(algorithm) signature by a pinned key: \(detail)")
}
