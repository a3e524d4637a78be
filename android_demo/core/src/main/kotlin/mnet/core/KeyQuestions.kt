package mnet.core

import java.io.IOException

/** When a phone asks for the server's keys, and which it believes; [roots] come with its app, [now] gives Unix seconds. */
internal class KeyQuestions(private val roots: Roots?, private val now: () -> Long) {
    private var askedAt: Long? = null

    /** The phone itself, or one that has yet to hear which keys the app's roots vouch for, if these are others than it knows. */
    fun asking(phone: Identity): Identity =
        if (roots == null || roots.json == phone.roots?.json) phone else phone.with(roots, number = -1, epoch = -1)

    /** As it enrolled; what the server then says of roots does not count where the app brings some. */
    fun enrolled(new: Identity): Identity = if (roots == null) new else new.with(roots = null)

    /**
     * The phone with the server's keys, if a known one vouches for them: asked for where a key signed [jws] that this phone does
     * not know, and once a day, so that a key that the server has retired is not believed much longer.
     *
     * Throws [Offline], [Denied] or [IOException] only where there is an unknown one, or where the app's roots have yet to vouch
     * for any.
     */
    fun learnt(client: CloudClient, phone: Identity, jws: String?): Identity {
        if (asking(phone) !== phone || jws != null && signer(jws) !in phone.keys) return ask(client, phone)
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
        val asking = asking(phone)
        val stated = KeyStatement.believed(statements, asking.keys, asking.roots, now())
        if (stated == null && asking !== phone) throw Offline("no root key of this app vouches for the server's keys")
        val learnt = asking.with(stated ?: return phone)
        return if (learnt.isNewerThan(asking)) learnt else phone
    }
}
