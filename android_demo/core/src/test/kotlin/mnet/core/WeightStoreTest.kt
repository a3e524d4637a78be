package mnet.core

import java.io.File
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
        File(folder, "packs/.0.safetensors.1.tmp").writeText("half")
        val (kept, pack) = version(1)
        store.save(kept, pack, null)
        assertEquals(listOf("${kept.release.sha256}.safetensors"), File(folder, "packs").list()!!.toList())
    }

    @Test
    fun `a damaged identity says so`() {
        val store = WeightStore(folder)
        assertNull(store.identity())
        File(folder, "identity.json").writeText("{\"device\":")
        assertThrows(BundleException::class.java) { store.identity() }
    }

    private fun refusal(block: () -> Unit): Reason = assertThrows(Refused::class.java, block).reason
}
