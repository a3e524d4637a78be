package mnet.core

/**
 * The signed statement "device D, bundle B: version V is pack P". [sha256] and [size] (bytes) name the pack;
 * [issuedAt] and [expiresAt] are Unix seconds.
 */
public data class Release(
    val device: String,
    val bundle: String,
    val version: Long,
    val sha256: String,
    val size: Long,
    val issuedAt: Long,
    val expiresAt: Long,
)

/** The largest version of a release or a pack, on every phone and server. */
internal const val MAX_VERSION = Int.MAX_VALUE.toLong()

private val SHA256 = Regex("[0-9a-f]{64}")

/**
 * The release that a JWS (RFC 7515, compact) states, after every check that needs no pack.
 *
 * [now] in Unix seconds; null leaves out the expiry, for a release that was accepted while it was valid.
 * Throws [Refused] with bad_signature, malformed, wrong_device, wrong_bundle, stale_version or expired.
 */
public fun verifyRelease(
    jws: String, keys: PublicKeys, device: String, bundle: String, newerThan: Long, now: Long?,
): Release {
    val release = readRelease(verifySigned(jws, keys).payload)
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
internal fun checkBytes(pack: ByteArray, release: Release) {
    if (pack.size.toLong() != release.size) {
        throw Refused(Reason.WRONG_SIZE, "the pack is ${pack.size} bytes, its release says ${release.size}")
    }
    val digest = sha256Hex(pack)
    if (digest != release.sha256) {
        throw Refused(Reason.WRONG_HASH, "the pack is $digest, its release says ${release.sha256}")
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
    malformedIf(release.version !in 1..MAX_VERSION || release.size < 1 || !SHA256.matches(release.sha256)) {
        "versions are 1 to $MAX_VERSION, sizes start at 1, sha256 is 64 lower-case hex digits"
    }
    return release
}
