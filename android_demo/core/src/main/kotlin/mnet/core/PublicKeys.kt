package mnet.core

import java.math.BigInteger
import java.security.AlgorithmParameters
import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.PublicKey
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
    KeyFactory.getInstance("EC").generatePublic(ECPublicKeySpec(point, P256))
} catch (error: GeneralSecurityException) {
    throw JsonException("not a P-256 key: ${error.message}")
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
