package mnet.core

import java.io.File
import java.io.IOException
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** What is broken or hostile ends in an exception that the phone's callers know. */
class DamageTest {
    @TempDir
    lateinit var folder: File

    private val exported = File(Vector.folder, "exported/ranker")

    /** The bundle with [path] holding [content], sealed as an exporter would. */
    private fun resealed(path: String, content: ByteArray): Bundle {
        val copy = File(folder, "bundle").also { exported.copyRecursively(it) }
        val text = File(copy, Manifest.FILE).readText()
        val old = Manifest.parse(text.toByteArray())
        val file = old.files.getValue(path)
        val changed = text.replace("\"id\":\"${old.id}\",", "").replace(
            "\"sha256\":\"${file.sha256}\",\"size\":${file.size}", "\"sha256\":\"${sha256Hex(content)}\",\"size\":${content.size}",
        )
        val id = sha256Hex(changed.toByteArray())
        File(copy, path).writeBytes(content)
        File(copy, Manifest.FILE).writeText(changed.replaceFirst("\"inputs\":[", "\"id\":\"$id\",\"inputs\":["))
        return Bundle.open(copy)
    }

    @Test
    fun `files that were sealed wrong are damage of the bundle`() {
        val weights = File(exported, "default.safetensors").readBytes()
        val golden = File(exported, "golden.safetensors").readBytes()
        assertThrows(BundleException::class.java) { resealed("default.safetensors", golden).defaultWeights }
        File(folder, "bundle").deleteRecursively()
        assertThrows(BundleException::class.java) { resealed("golden.safetensors", weights).golden }
        File(folder, "bundle").deleteRecursively()
        assertThrows(BundleException::class.java) { resealed("golden.safetensors", ByteArray(3)).golden }
    }

    @Test
    fun `a full disk costs a pack that is tried, not the app`() {
        val bundle = Bundle.open(exported)
        val pack = Vector.all().first { it.name == "pack: good" }.bytes("pack")
        phone(bundle).use { assertEquals("the disk: full", it.tryPack(pack)) }
    }

    @Test
    fun `what no request can carry is offline, and named where it is typed in`() {
        for (server in listOf("http://127.0.0.1:99999", "http://127.0.0.1:0", "ftp://example.org", "example")) {
            assertThrows(IllegalArgumentException::class.java, { CloudClient(server) }, server)
        }
        CloudClient("http://127.0.0.1:9").use { client ->
            assertThrows(Offline::class.java) { client.enrol("a\nb", "bundle") }
        }
        assertTrue(HttpClient.isKey("aB3-_"))
        assertFalse(HttpClient.isKey("a b"))
        assertFalse(HttpClient.isKey("é"))
    }

    @Test
    fun `keys that were stated long ago are asked for again, whoever signed`() {
        val now = System.currentTimeMillis() / 1000
        val (old, new) = listOf(Signer("old"), Signer("new"))
        val bundle = Bundle.open(exported)
        val claims = mapOf("bundle" to bundle.id, "version" to 1L, "sha256" to "0".repeat(64), "size" to 1L)
        val release = old.sign("JWT", claims + mapOf("sub" to "d", "iat" to now, "exp" to now + 60))
        val stated = mapOf("keys" to listOf(new.jwk), "number" to 1L, "iat" to now)
        val statements = listOf(old, new).map { it.sign("mnet-keys+jwt", stated) }
        fun polled(known: Long, vararg answers: Pair<String, Any>): Exception = served(mapOf(*answers)) { url ->
            val state = File(folder, "state").apply { deleteRecursively() }
            val keys = PublicKeys(mapOf("keys" to listOf(old.jwk)))
            WeightStore(state).use { it.saveIdentity(Identity("d", bundle.id, "token", keys, known)) }
            phone(bundle, state).use { assertThrows(Exception::class.java) { it.poll(CloudClient(url), 0) } }
        }
        val released = "/v1/devices/d/release" to mapOf("release" to release)
        val keys = "/v1/keys" to mapOf("statements" to statements)
        val retired = polled(0, released, keys)
        assertEquals(Reason.BAD_SIGNATURE, (retired as Refused).reason)
        // Believed, and there is no pack: the statement is no newer one, or nobody says that the key is not good.
        assertEquals(404, (polled(1, released, keys) as Denied).status)
        assertEquals(404, (polled(0, released) as Denied).status)
        assertEquals(404, (polled(0, released, "/v1/keys" to emptyMap<String, Any>()) as Denied).status)
    }

    /** A phone whose runtime gives the golden outputs, and has no room for a second version. */
    private fun phone(bundle: Bundle, state: File = File(folder, "phone")): Phone {
        var binds = 0
        val program = object : Program {
            override fun bind(parameters: Map<String, Tensor>): Run {
                if (binds++ > 0) throw IOException("full")
                return Run { inputs -> bundle.golden.first { it.inputs === inputs }.expected }
            }

            override fun close() = Unit
        }
        return Phone(bundle, program, WeightStore(state), {})
    }
}
