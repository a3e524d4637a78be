package mnet.hosttest

import java.io.File
import java.nio.file.Files
import mnet.core.Benchmark
import mnet.core.writeJson
import mnet.engine.ExecuTorchProgram
import org.junit.jupiter.api.Test

/** What the app measures on a phone, measured here. */
class BenchmarkTest {
    @Test
    fun `the bench of the app gives its figures`() {
        val packs = List(3) { File(Machine.folder("packs"), "${it + 1}.pack").readBytes() }
        val scratch = Files.createTempDirectory("bench").toFile()
        val benchmark = Benchmark(Machine.bundle, { ExecuTorchProgram.load(it, scratch) }, ExecuTorchProgram::load)
        File(Machine.text("report")).writeText(writeJson(benchmark.run(packs, swaps = 5)))
    }
}
