package mnet.core

import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.util.UUID
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

class WeightStoreTest {
    @TempDir
    lateinit var folder: File

    private fun version(number: Long): Pair<Kept, ByteArray> {
        val pack = "pack $number".toByteArray()
        val release = Release("d", "b", number, sha256Hex(pack), pack.size.toLong(), 0, 0)
        return Kept("jws $number", release) to pack
    }

    @Test
    fun `the last two versions are kept`() {
        val store = WeightStore(folder)
        var running: Kept? = null
        for (number in 1L..3L) {
            val (kept, pack) = version(number)
            store.save(kept, pack, running)
            running = kept
        }
        store.close()
        val again = WeightStore(folder)
        assertEquals(listOf("jws 3", "jws 2"), again.releases())
        for (number in 2L..3L) assertArrayEquals(version(number).second, again.pack(version(number).first.release))
        assertEquals(2, File(folder, "packs").list()!!.size)
    }

    @Test
    fun `a pack that is gone or changed is refused by name`() {
        val store = WeightStore(folder)
        val (kept, pack) = version(1)
        store.save(kept, pack, null)
        val file = File(folder, "packs").listFiles()!!.single()
        file.writeBytes(pack.copyOf(pack.size - 1))
        assertEquals(Reason.WRONG_SIZE, refusal { store.pack(kept.release) })
        file.writeBytes(pack.reversedArray())
        assertEquals(Reason.WRONG_HASH, refusal { store.pack(kept.release) })
        file.delete()
        assertEquals(Reason.MISSING_FILE, refusal { store.pack(kept.release) })
    }

    @Test
    fun `what a cut write left behind is swept away`() {
        val store = WeightStore(folder)
        File(folder, "packs/.${"0".repeat(64)}.safetensors.${UUID.randomUUID()}.tmp").writeText("half")
        File(folder, "packs/notes.txt").writeText("somebody else's")
        val (kept, pack) = version(1)
        store.save(kept, pack, null)
        assertEquals(setOf("${kept.release.sha256}.safetensors", "notes.txt"), File(folder, "packs").list()!!.toSet())
    }

    @Test
    fun `a damaged identity says so`() {
        val store = WeightStore(folder)
        assertNull(store.identity())
        for (text in listOf("{\"device\":", "{}", "[]", "{\"number\":\"1\"}")) {
            File(folder, "identity.json").writeText(text)
            assertEquals(Reason.MALFORMED, refusal { store.identity() })
        }
    }

    @Test
    fun `a folder is one phone's at a time, and none of a server or behind a link`() {
        WeightStore(folder).use { assertThrows(IOException::class.java) { WeightStore(folder) } }
        WeightStore(folder).close()
        val server = File(folder, "server").apply { mkdirs() }
        File(server, "mnet.db").writeText("its own")
        assertThrows(IOException::class.java) { WeightStore(server) }
        val marked = File(folder, "marked").apply { mkdirs() }
        File(marked, "owner.json").writeText("{\"mnet\": \"server\", \"process\": 1}")
        assertThrows(IOException::class.java) { WeightStore(marked) }
        val linked = File(folder, "linked").apply { mkdirs() }
        Files.createSymbolicLink(File(linked, "packs").toPath(), server.toPath())
        assertThrows(IOException::class.java) { WeightStore(linked) }
    }

    private fun refusal(block: () -> Unit): Reason = assertThrows(Refused::class.java, block).reason
}
