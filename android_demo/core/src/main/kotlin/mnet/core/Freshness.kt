package mnet.core

/** The header, of an answer of status 204, with the signed statement that there is nothing newer. */
internal const val NOTHING_NEWER = "Mnet-Nothing-Newer"
private const val STATEMENT_TYPE = "mnet-nothing-newer+jwt"
internal const val DAY_SECONDS = 24 * 60 * 60L

/**
 * Until when (Unix seconds) [version] is known to be the newest, by the statement in [jws]: a day from [now] at most,
 * whatever it says. Throws [Refused] where it does not say so. As `toolchain/contract/freshness.py`.
 */
internal fun freshUntil(jws: String, keys: PublicKeys, device: String, bundle: String, version: Long, now: Long): Long {
    val signed = verifySigned(jws, keys)
    malformedIf(signed.type != STATEMENT_TYPE) { "it is signed, but says nothing of newer versions" }
    return orMalformed("the statement") {
        val claims = parseJsonObject(signed.payload)
        val about = Triple(claims.string("sub"), claims.string("bundle"), claims.long("version"))
        val (issued, expires) = claims.long("iat") to claims.long("exp")
        malformedIf(about != Triple(device, bundle, version)) { "the statement is about $about" }
        malformedIf(issued !in now - DAY_SECONDS..now + DAY_SECONDS || expires <= now) { "the statement is of another time" }
        minOf(expires, now + DAY_SECONDS)
    }
}
