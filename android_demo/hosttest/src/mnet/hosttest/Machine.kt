package mnet.hosttest

import java.io.Closeable
import java.io.File
import java.net.ServerSocket
import java.util.concurrent.TimeUnit
import mnet.core.parseJsonObject
import mnet.core.string

/** What `tests/android` hands over as system properties. */
object Machine {
    val bundle = folder("bundle")

    fun folder(name: String) = File(text(name))

    fun text(name: String): String =
        checkNotNull(System.getProperty("mnet.$name")) { "-Dmnet.$name is missing" }

    fun number(name: String): Int = text(name).toInt()
}

/** `mnet serve` as a process of its own, on one port and one state folder whatever becomes of it. */
class Server(private val state: File) : Closeable {
    private val port = ServerSocket(0).use { it.localPort }
    private var process: Process? = null

    val url = "http://127.0.0.1:$port"
    lateinit var enrolmentKey: String
        private set

    /** Returns when it serves. */
    fun start() {
        val command = listOf(
            Machine.text("python"), "-m", "toolchain.cli", "serve", Machine.text("run"), "--bundle", Machine.bundle.path,
            "--state", state.path, "--port", "$port", "--json",
        )
        val log = File(state.parentFile, "server.log")
        val started = ProcessBuilder(command).directory(Machine.folder("repository"))
            .redirectError(ProcessBuilder.Redirect.appendTo(log)).start()
        process = started
        val line = started.inputStream.bufferedReader().readLine()
            ?: throw AssertionError("mnet serve ended with ${started.waitFor()}: ${log.readText().takeLast(2_000)}")
        val ready = parseJsonObject(line.toByteArray())
        enrolmentKey = File(ready.string("enrolment_key")).readText().trim()
    }

    /** End it as a power cut would. */
    fun kill() {
        process?.destroyForcibly()?.waitFor()
    }

    override fun close() {
        process?.destroy()
        if (process?.waitFor(20, TimeUnit.SECONDS) == false) kill()
    }
}
