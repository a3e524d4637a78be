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
public class PublicKeys(public val jwks: JsonObject) {
    private val keys: Map<Any?, PublicKey> = jwks.objects("keys")
        .filter { it["kty"] == "EC" && it["crv"] == "P-256" }
        .associate { it.string("kid") to publicKey(it) }

    init {
        if (keys.isEmpty()) throw JsonException("no P-256 key in the JSON Web Key Set")
    }

    /** The key of that `kid`; without one, the only key there is. */
    public fun find(kid: Any?): PublicKey? = if (kid == null) keys.values.singleOrNull() else keys[kid]

    /** How many there are, each of a name of its own. */
    public val count: Int get() = keys.size

    public operator fun contains(kid: String?): Boolean = kid in keys

    /** These keys and those of [other]. */
    public operator fun plus(other: List<JsonObject>): PublicKeys = PublicKeys(mapOf("keys" to jwks.objects("keys") + other))
}

// The header's `typ` of a key statement, so that no release passes for one (RFC 8725).
private const val STATEMENT_TYPE = "mnet-keys+jwt"

/** Offline keys: [threshold] of them must sign a statement of keys, and nothing else vouches for one. */
public class Roots(public val keys: PublicKeys, public val threshold: Long) {
    internal val json: JsonObject get() = mapOf("keys" to keys.jwks, "threshold" to threshold)

    public companion object {
        /** Read the `roots.json` of `mnet keys pin`, which an app ships. Throws [JsonException]. */
        public fun parse(data: ByteArray): Roots = read(parseJsonObject(data))

        internal fun read(fields: JsonObject): Roots {
            val roots = Roots(PublicKeys(fields.child("keys")), fields.long("threshold"))
            if (roots.threshold !in 1..roots.keys.count) throw JsonException("a threshold of ${roots.threshold}")
            return roots
        }
    }
}

/**
 * A server's keys as of its statement [number], which rises with each change of them. [epoch] rises when the keys before may
 * be in a thief's hands: nothing that they signed counts any more.
 */
public class KeyStatement private constructor(public val keys: PublicKeys, public val number: Long, public val epoch: Long) {
    public companion object {
        /** The newest of these JWS that a phone may believe at [now]: by enough of its [roots] or, without such, by a known key. */
        public fun believed(statements: List<String>, known: PublicKeys, roots: Roots?, now: Long): KeyStatement? {
            val vouchers = HashMap<String, MutableSet<String>>() // by the payload: who signed it
            val found = HashMap<String, KeyStatement>()
            for (jws in statements) {
                val statement = try {
                    verify(jws, roots?.keys ?: known, now)
                } catch (refusal: Refused) {
                    continue // by another key than the known ones
                }
                val payload = jws.split('.')[1]
                found[payload] = statement
                vouchers.getOrPut(payload) { HashSet() }.add(signer(jws).orEmpty())
            }
            val good = found.filterKeys { vouchers.getValue(it).size >= (roots?.threshold ?: 1) }.values
            return good.maxWithOrNull(compareBy({ it.epoch }, { it.number }))
        }

        /**
         * Read the statement in [jws] at [now] (Unix seconds); throws [Refused] with bad_signature unless one of [known] signed
         * it, or malformed. Their numbers say which of two statements is newer, never a clock.
         */
        public fun verify(jws: String, known: PublicKeys, now: Long): KeyStatement {
            val signed = verifySigned(jws, known)
            malformedIf(signed.type != STATEMENT_TYPE || signer(jws) == null) { "it is signed, but no statement of keys" }
            return orMalformed("the statement of keys") {
                val claims = parseJsonObject(signed.payload)
                val number = claims.long("number")
                val epoch = if ("epoch" in claims) claims.long("epoch") else 0
                malformedIf(number !in 0..MAX_VERSION || epoch !in 0..MAX_VERSION) { "the statement has number $number" }
                malformedIf(claims.long("iat") > now + DAY_SECONDS) { "the statement is of the future" }
                KeyStatement(PublicKeys(mapOf("keys" to claims.objects("keys"))), number, epoch)
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
