package mnet.core

import java.io.IOException

/** When a phone asks for the server's keys, and which it believes; [now] gives Unix seconds. */
internal class KeyQuestions(private val now: () -> Long) {
    private var askedAt: Long? = null

    /**
     * The phone with the server's keys, if a known one vouches for them: asked for where a key signed [jws] that this phone does
     * not know, and once a day, so that a key that the server has retired is not believed much longer.
     *
     * Throws [Offline], [Denied] or [IOException] only where there is an unknown one.
     */
    fun learnt(client: CloudClient, phone: Identity, jws: String?): Identity {
        if (jws != null && signer(jws) !in phone.keys) return ask(client, phone)
        val asked = synchronized(this) { askedAt }
        if (asked != null && now() - asked in 0 until DAY_SECONDS) return phone
        return try {
            ask(client, phone)
        } catch (error: Offline) {
            phone // who keeps the statement from a phone can keep the release from it too
        } catch (denial: Denied) {
            phone
        } catch (error: IOException) {
            phone
        }
    }

    private fun ask(client: CloudClient, phone: Identity): Identity {
        val statements = client.keyStatements(phone)
        synchronized(this) { askedAt = now() }
        val stated = KeyStatement.believed(statements, phone.keys, phone.roots, now()) ?: return phone
        val learnt = phone.with(stated)
        val newer = learnt.epoch > phone.epoch || learnt.epoch == phone.epoch && learnt.number > phone.number
        return if (newer) learnt else phone
    }
}
