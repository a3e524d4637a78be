package mnet.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** Weights that the app brought itself answer, and no release is judged by them. */
class OwnWeightsTest {
    @TempDir
    lateinit var folder: File

    private val bundle = Bundle.open(File(Vector.folder, "exported/ranker"))
    private val signer = Signer("key")
    private var seconds = System.currentTimeMillis() / 1000

    @Test
    fun `what is measured counts for the release that answers, and for no weights of the app's own`() {
        keep(version = 2)
        phone().use { phone ->
            fun counted(): List<Long> {
                phone.report("click", 1.0)
                val rows = File(folder, "measurements.json").takeIf { it.exists() }?.readBytes()?.let(::parseJson) as List<*>?
                return rows.orEmpty().flatMap { row -> listOf((row as List<*>)[0] as Long, row[2] as Long) }
            }
            assertEquals(listOf(2L, 1L), counted())
            for (version in listOf(2L, 3L)) {
                phone.load("mine", pack(version))
                phone.use("mine")
                assertEquals("mine" to version, phone.live.name to phone.live.version)
                assertEquals(listOf(2L, 1L), counted(), "as version $version of the app's own")
            }
            phone.use(null)
            assertEquals(listOf(2L, 2L), counted())
            assertNull(phone.tryPack(pack(4)))
            assertEquals(listOf(2L, 2L), counted())
            phone.reset()
            assertEquals(listOf(2L, 2L), counted())
        }
        assertEquals(2L, WeightStore(folder).use { it.resetVersion }, "a release above it may come, whatever was tried")
    }

    @Test
    fun `that its weights are stale a phone says of the release, whatever the app tries`() {
        keep(version = 2)
        val heard = ArrayList<String>()
        phone().use { phone ->
            assertNull(phone.tryPack(pack(4)))
            seconds += 86_401
            served(emptyMap(), heard) { url ->
                CloudClient(url).use { assertThrows(Denied::class.java) { phone.poll(it, waitSeconds = 0) } }
            }
        }
        val (said) = heard.filter { it.startsWith("/v1/devices/d/reports ") }
        val report = parseJsonObject(said.substringAfter(' ').toByteArray())
        assertEquals(2L to CloudClient.STALE, report.long("version") to report.string("outcome"))
    }

    /** A phone whose runtime gives the golden outputs under all weights. */
    private fun phone(): Phone {
        val program = object : Program {
            override fun bind(parameters: Map<String, Tensor>) = Run { inputs -> bundle.golden.first { it.inputs === inputs }.expected }

            override fun close() = Unit
        }
        return Phone(bundle, program, WeightStore(folder), {}, { seconds * 1000 })
    }

    /** Let the phone find a version that its server sent. */
    private fun keep(version: Long) {
        val pack = pack(version)
        val claims = mapOf("bundle" to bundle.id, "version" to version, "sha256" to sha256Hex(pack), "size" to pack.size.toLong())
        val jws = signer.sign("JWT", claims + mapOf("sub" to "d", "iat" to seconds, "exp" to seconds + 60))
        val keys = PublicKeys(mapOf("keys" to listOf(signer.jwk)))
        WeightStore(folder).use { store ->
            store.saveIdentity(Identity("d", bundle.id, "token", keys, 0))
            store.save(Kept(jws, verifyRelease(jws, keys, "d", bundle.id, 0, seconds)), pack, null)
        }
    }

    /** A pack of some weights whose probe is that of the golden outputs. */
    private fun pack(version: Long): ByteArray {
        val good = Vector.all().first { it.name == "pack: good" }.bytes("pack")
        val length = ByteBuffer.wrap(good).order(ByteOrder.LITTLE_ENDIAN).getLong().toInt()
        val header = parseJsonObject(good.copyOfRange(8, 8 + length))
        val probe = probe(bundle.golden.first().expected, bundle.manifest.outputs.map { it.scale }).toList()
        val stated = parseJsonObject(header.child("__metadata__").string("mnet").toByteArray())
        val changed = writeJson(stated + mapOf("version" to version, "probe" to probe))
        val written = writeJson(header + mapOf("__metadata__" to mapOf("mnet" to changed))).toByteArray()
        val size = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(written.size.toLong()).array()
        return size + written + good.drop(8 + length)
    }
}
