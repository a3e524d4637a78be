package mnet.core

import java.math.BigInteger
import java.security.AlgorithmParameters
import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.PublicKey
import java.security.spec.ECFieldFp
import java.security.spec.ECGenParameterSpec
import java.security.spec.ECParameterSpec
import java.security.spec.ECPoint
import java.security.spec.ECPublicKeySpec

/**
 * The P-256 keys that a phone pinned when it enrolled, from a JWKS (RFC 7517).
 *
 * Throws [JsonException] where [jwks] holds no such key or is not one.
 */
class PublicKeys(val jwks: JsonObject) {
    private val keys: Map<Any?, PublicKey> = jwks.objects("keys")
        .filter { it["kty"] == "EC" && it["crv"] == "P-256" }
        .associate { it.string("kid") to publicKey(it) }

    init {
        if (keys.isEmpty()) throw JsonException("no P-256 key in the JSON Web Key Set")
    }

    /** The key of that `kid`; without one, the only key there is. */
    fun find(kid: Any?): PublicKey? = if (kid == null) keys.values.singleOrNull() else keys[kid]

    operator fun contains(kid: String?): Boolean = kid in keys

    /** These keys and those of [other]. */
    operator fun plus(other: List<JsonObject>) = PublicKeys(mapOf("keys" to jwks.objects("keys") + other))
}

// The header's `typ` of a key statement, so that no release passes for one (RFC 8725).
private const val STATEMENT_TYPE = "mnet-keys+jwt"

/** A server's keys as of its statement [number], which rises with each change of them, stated by a key that was known. */
class KeyStatement private constructor(val keys: PublicKeys, val number: Long) {
    companion object {
        /**
         * Read the statement in [jws] at [now] (Unix seconds); throws [Refused] with bad_signature unless one of [known] signed
         * it, or malformed. Which of two statements is the newer one is told by their numbers, never by a clock.
         */
        fun verify(jws: String, known: PublicKeys, now: Long): KeyStatement {
            val signed = verifySigned(jws, known)
            malformedIf(signed.type != STATEMENT_TYPE) { "it is signed, but no statement of keys" }
            return orMalformed("the statement of keys") {
                val claims = parseJsonObject(signed.payload)
                val number = claims.long("number")
                malformedIf(number !in 0..MAX_VERSION) { "the statement has number $number" }
                malformedIf(claims.long("iat") > now + DAY_SECONDS) { "the statement is of the future" }
                KeyStatement(PublicKeys(mapOf("keys" to claims.objects("keys"))), number)
            }
        }
    }
}

private val P256: ECParameterSpec by lazy {
    AlgorithmParameters.getInstance("EC").run {
        init(ECGenParameterSpec("secp256r1"))
        getParameterSpec(ECParameterSpec::class.java)
    }
}

private const val COORDINATE_BYTES = 32

private fun publicKey(jwk: JsonObject): PublicKey = try {
    val point = ECPoint(coordinate(jwk, "x"), coordinate(jwk, "y"))
    if (!isOnCurve(point)) throw JsonException("not a point of P-256")
    KeyFactory.getInstance("EC").generatePublic(ECPublicKeySpec(point, P256))
} catch (error: GeneralSecurityException) {
    throw JsonException("not a P-256 key: ${error.message}")
}

/** `y² = x³ + ax + b` over the curve's field; the platform's own KeyFactory takes any two numbers. */
private fun isOnCurve(point: ECPoint): Boolean {
    val prime = (P256.curve.field as ECFieldFp).p
    val (x, y) = point.affineX to point.affineY
    val right = x.pow(3) + P256.curve.a * x + P256.curve.b
    return x < prime && y < prime && (y * y - right).mod(prime).signum() == 0
}

private fun coordinate(jwk: JsonObject, name: String): BigInteger = try {
    BigInteger(1, decodeBase64Url(jwk.string(name)))
} catch (error: IllegalArgumentException) {
    throw JsonException("$name is not base64url")
}

/** ES256's `r || s`, 32 bytes each (RFC 7518), as the DER that Java's verifier takes; null where it is neither. */
internal fun derSignature(signature: ByteArray): ByteArray? {
    if (signature.size != 2 * COORDINATE_BYTES) return null
    val numbers = listOf(signature.copyOf(COORDINATE_BYTES), signature.copyOfRange(COORDINATE_BYTES, signature.size))
        .map { BigInteger(1, it) }
    // Some Java releases took r = s = 0 as good for any text (CVE-2022-21449).
    if (numbers.any { it.signum() == 0 }) return null
    val body = numbers.map { it.toByteArray() }.fold(ByteArray(0)) { der, number ->
        der + byteArrayOf(0x02, number.size.toByte()) + number
    }
    return byteArrayOf(0x30, body.size.toByte()) + body
}
