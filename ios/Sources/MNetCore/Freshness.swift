/// The header, of an answer of status 204, with the signed statement that there is nothing newer.
let nothingNewerHeader = "mnet-nothing-newer"
private let statementType = "mnet-nothing-newer+jwt"
let daySeconds = 24 * 60 * 60

/// Until when (Unix seconds) `version` is known to be the newest, by the statement in `jws`: a day from `now` at most, whatever it
/// says. Throws `Refused` where it does not say so. As `toolchain/contract/freshness.py`.
func freshUntil(_ jws: String, keys: PublicKeys, device: String, bundle: String, version: Int, now: Int) throws -> Int {
    let signed = try verifySigned(jws, by: keys)
    try malformed(if: signed.type != .text(statementType), "it is signed, but says nothing of newer versions")
    return try orMalformed("the statement") {
        let claims = try parseJSONObject(signed.payload)
        let about = (try claims.string("sub"), try claims.string("bundle"), try claims.integer("version"))
        let (issued, expires) = (try claims.integer("iat"), try claims.integer("exp"))
        try malformed(if: about != (device, bundle, version), "the statement is about \(about)")
        let isOfNow = (now - daySeconds...now + daySeconds).contains(issued) && expires > now
        try malformed(if: !isOfNow, "the statement is of another time")
        return min(expires, now + daySeconds)
    }
}
