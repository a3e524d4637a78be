package mnet.core

import java.security.GeneralSecurityException
import java.security.PublicKey
import java.security.Signature
import java.util.Base64

private const val ALGORITHM = "ES256"
private val HEADER_FIELDS = setOf("alg", "kid", "typ")
private val BASE64URL = Regex("[A-Za-z0-9_-]*")

/** What a JWS (RFC 7515, compact) says, once its ES256 signature was found good; [type] is its header's `typ`. */
internal class Signed(val type: Any?, val payload: ByteArray)

/**
 * Check the signature by one of [keys]; what the header asks for is never trusted.
 *
 * Throws [Refused] with bad_signature.
 */
internal fun verifySigned(jws: String, keys: PublicKeys): Signed {
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
        return Signed(header["typ"], decodeBase64Url(parts[1]))
    } catch (error: JsonException) {
        badSignature("the header cannot be read: ${error.message}")
    } catch (error: IllegalArgumentException) {
        badSignature("not base64url: ${error.message}")
    }
}

/** The `kid` in a JWS's header, which nobody has verified yet; null where there is none to read. */
internal fun signer(jws: String): String? = try {
    parseJsonObject(decodeBase64Url(jws.substringBefore('.')))["kid"] as? String
} catch (error: JsonException) {
    null
} catch (error: IllegalArgumentException) {
    null
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

/** RFC 7515's base64url: no padding, and one text for each value. IllegalArgumentException for anything else. */
internal fun decodeBase64Url(text: String): ByteArray {
    require(BASE64URL.matches(text)) { "a character outside its alphabet" }
    val data = Base64.getUrlDecoder().decode(text)
    require(Base64.getUrlEncoder().withoutPadding().encodeToString(data) == text) { "loose bits at the end" }
    return data
}
