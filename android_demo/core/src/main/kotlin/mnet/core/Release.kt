package mnet.core

import java.security.GeneralSecurityException
import java.security.PublicKey
import java.security.Signature
import java.util.Base64

/**
 * The signed statement "device D, bundle B: version V is pack P". [sha256] and [size] (bytes) name the pack;
 * [issuedAt] and [expiresAt] are Unix seconds.
 */
data class Release(
    val device: String,
    val bundle: String,
    val version: Long,
    val sha256: String,
    val size: Long,
    val issuedAt: Long,
    val expiresAt: Long,
)

private const val ALGORITHM = "ES256"
private val HEADER_FIELDS = setOf("alg", "kid", "typ")
private val SHA256 = Regex("[0-9a-f]{64}")
private val BASE64URL = Regex("[A-Za-z0-9_-]*")

/**
 * The release that a JWS (RFC 7515, compact) states, after every check that needs no pack.
 *
 * [now] in Unix seconds; null leaves out the expiry, for a release that was accepted while it was valid.
 * Throws [Refused] with bad_signature, malformed, wrong_device, wrong_bundle, stale_version or expired.
 */
fun verifyRelease(
    jws: String, keys: PublicKeys, device: String, bundle: String, newerThan: Long, now: Long?,
): Release {
    val release = readRelease(signedPayload(jws, keys))
    if (release.device != device) {
        throw Refused(Reason.WRONG_DEVICE, "the release is for device ${release.device}, this is $device")
    }
    if (release.bundle != bundle) {
        throw Refused(Reason.WRONG_BUNDLE, "the release is for bundle ${release.bundle}, this runs $bundle")
    }
    if (release.version <= newerThan) {
        throw Refused(Reason.STALE_VERSION, "version ${release.version} does not follow version $newerThan")
    }
    if (now != null && now >= release.expiresAt) {
        throw Refused(Reason.EXPIRED, "version ${release.version} expired at ${release.expiresAt}, it is $now")
    }
    return release
}

/** Refuse bytes that are not the pack that a release names: wrong_size or wrong_hash. */
fun checkBytes(pack: ByteArray, release: Release) {
    if (pack.size.toLong() != release.size) {
        throw Refused(Reason.WRONG_SIZE, "the pack is ${pack.size} bytes, its release says ${release.size}")
    }
    val digest = sha256Hex(pack)
    if (digest != release.sha256) {
        throw Refused(Reason.WRONG_HASH, "the pack is $digest, its release says ${release.sha256}")
    }
}

/** The payload of a JWS with a good ES256 signature by one of [keys]; what its header asks for is never trusted. */
private fun signedPayload(jws: String, keys: PublicKeys): ByteArray {
    val parts = jws.split('.')
    if (parts.size != 3) badSignature("not three parts")
    try {
        val header = parseJsonObject(decodeBase64Url(parts[0]))
        if (header["alg"] != ALGORITHM) badSignature("alg is ${header["alg"]}, not $ALGORITHM")
        // Known ones only: an entry that changes what is signed (`b64`, `crit`) must not be overlooked.
        if (!HEADER_FIELDS.containsAll(header.keys)) badSignature("the header has ${header.keys}")
        val key = keys.find(header["kid"]) ?: badSignature("no pinned key ${header["kid"]}")
        val signed = "${parts[0]}.${parts[1]}".toByteArray(Charsets.US_ASCII)
        if (!isSigned(signed, decodeBase64Url(parts[2]), key)) badSignature("it does not match")
        return decodeBase64Url(parts[1])
    } catch (error: JsonException) {
        badSignature("the header cannot be read: ${error.message}")
    } catch (error: IllegalArgumentException) {
        badSignature("not base64url: ${error.message}")
    }
}

private fun badSignature(detail: String): Nothing =
    throw Refused(Reason.BAD_SIGNATURE, "no good $ALGORITHM signature by a pinned key: $detail")

private fun isSigned(data: ByteArray, signature: ByteArray, key: PublicKey): Boolean {
    val der = derSignature(signature) ?: return false
    return try {
        Signature.getInstance("SHA256withECDSA").run {
            initVerify(key)
            update(data)
            verify(der)
        }
    } catch (error: GeneralSecurityException) {
        false
    }
}

private fun readRelease(payload: ByteArray): Release {
    val release = orMalformed("the release") {
        val claims = parseJsonObject(payload)
        Release(
            device = claims.string("sub"),
            bundle = claims.string("bundle"),
            version = claims.long("version"),
            sha256 = claims.string("sha256"),
            size = claims.long("size"),
            issuedAt = claims.long("iat"),
            expiresAt = claims.long("exp"),
        )
    }
    malformedIf(release.version < 1 || release.size < 1 || !SHA256.matches(release.sha256)) {
        "version and size start at 1, sha256 is 64 lower-case hex digits"
    }
    return release
}

/** RFC 7515's base64url: no padding, and one text for each value. IllegalArgumentException for anything else. */
internal fun decodeBase64Url(text: String): ByteArray {
    require(BASE64URL.matches(text)) { "a character outside its alphabet" }
    val data = Base64.getUrlDecoder().decode(text)
    require(Base64.getUrlEncoder().withoutPadding().encodeToString(data) == text) { "loose bits at the end" }
    return data
}
