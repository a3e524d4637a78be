package mnet.core

import java.security.KeyPairGenerator
import java.security.Signature
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import java.util.Base64

/** A key of a server. */
class Signer(private val kid: String) {
    private val pair = KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec("secp256r1")) }.generateKeyPair()
    val jwk = (pair.public as ECPublicKey).w.let { point ->
        val (x, y) = listOf(point.affineX, point.affineY).map { text(fixed(it.toByteArray())) }
        mapOf("kty" to "EC", "crv" to "P-256", "kid" to kid, "x" to x, "y" to y)
    }

    fun sign(type: String, claims: JsonObject): String {
        val header = mapOf("alg" to "ES256", "typ" to type, "kid" to kid)
        val signed = listOf(header, claims).joinToString(".") { text(writeJson(it).toByteArray()) }
        val signature = Signature.getInstance("SHA256withECDSAinP1363Format").run {
            initSign(pair.private)
            update(signed.toByteArray())
            sign()
        }
        return "$signed.${text(signature)}"
    }

    private fun fixed(number: ByteArray) = ByteArray(32).also { out ->
        val digits = number.takeLast(32)
        digits.forEachIndexed { k, byte -> out[32 - digits.size + k] = byte }
    }

    private fun text(data: ByteArray) = Base64.getUrlEncoder().withoutPadding().encodeToString(data)
}
