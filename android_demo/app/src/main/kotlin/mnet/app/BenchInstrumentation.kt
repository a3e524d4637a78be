package mnet.app

import android.app.Activity
import android.app.Instrumentation
import android.content.Context
import android.content.pm.ApplicationInfo
import android.os.Bundle
import java.io.File
import mnet.core.Benchmark
import mnet.core.writeJson
import mnet.engine.ExecuTorchProgram

/**
 * Measures the bundle that `mnet bench --on app` put into the app, in the app's own process; in debuggable builds only.
 *
 * In: `bench/bundle` and `bench/packs/1.pack`, `2.pack`, …; out: `bench/report.json`.
 */
class BenchInstrumentation : Instrumentation() {
    private var swaps = 0

    override fun onCreate(arguments: Bundle?) {
        swaps = arguments?.getString("swaps")?.toIntOrNull() ?: 0
        start()
    }

    override fun onStart() {
        val answer = Bundle()
        val code = try {
            measure(targetContext)
            Activity.RESULT_OK
        } catch (error: Exception) { // whatever it is, the computer at the cable is told
            answer.putString("refusal", error.toString())
            Activity.RESULT_CANCELED
        }
        finish(code, answer)
    }

    private fun measure(context: Context) {
        check(context.applicationInfo.flags and ApplicationInfo.FLAG_DEBUGGABLE != 0) { "this build is not debuggable" }
        require(swaps > 0) { "no number of swaps" }
        val folder = File(context.filesDir, "bench")
        val packs = generateSequence(1) { it + 1 }.map { File(folder, "packs/$it.pack") }
            .takeWhile { it.isFile }.map { it.readBytes() }.toList()
        require(packs.isNotEmpty()) { "no packs" }
        val scratch = File(context.cacheDir, "bench")
        val benchmark = Benchmark(
            File(folder, "bundle"), { bundle -> ExecuTorchProgram.load(bundle, scratch) }, ExecuTorchProgram::load,
        )
        File(folder, "report.json").writeText(writeJson(benchmark.run(packs, swaps)))
    }
}
