package mnet.hosttest

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import java.io.Closeable
import java.io.File
import java.net.HttpURLConnection
import java.net.InetSocketAddress
import java.net.ServerSocket
import java.net.URL
import java.nio.file.Files
import java.util.concurrent.TimeUnit
import mnet.core.Bundle
import mnet.core.Program
import mnet.core.parseJson
import mnet.core.parseJsonObject
import mnet.core.string
import mnet.engine.ExecuTorchProgram

/** What `tests/android` hands over as system properties. */
object Machine {
    val bundle get() = folder("bundle")

    fun folder(name: String) = File(text(name))

    fun text(name: String): String =
        checkNotNull(System.getProperty("mnet.$name")) { "-Dmnet.$name is missing" }

    fun number(name: String): Int = text(name).toInt()

    /** The program of [bundle] as the app loads it, with a scratch folder of its own. */
    fun program(bundle: Bundle): Program =
        ExecuTorchProgram.load(bundle, Files.createTempDirectory("versions").toFile().apply { deleteOnExit() })
}

/** `mnet serve` as a process of its own, on one port and one state folder whatever becomes of it. */
class Server(private val state: File, private vararg val options: String) : Closeable {
    private val port = ServerSocket(0).use { it.localPort }
    private val log = File(state.parentFile, "server.log")
    private var process: Process? = null

    val url = "http://127.0.0.1:$port"
    lateinit var enrolmentKey: String
        private set
    private lateinit var operatorKey: String

    /** Returns when it serves. */
    fun start() {
        val bundles = listOf("bundle", "updated").flatMap { listOf("--bundle", Machine.folder(it).path) }
        val place = listOf("--state", state.path, "--port", "$port", "--json")
        val started = mnet(listOf("serve", Machine.text("run")) + bundles + place + options)
        process = started
        val line = started.inputStream.bufferedReader().readLine()
            ?: throw AssertionError("mnet serve ended with ${started.waitFor()}: ${log.readText().takeLast(2_000)}")
        val ready = parseJsonObject(line.toByteArray())
        enrolmentKey = File(ready.string("enrolment_key")).readText().trim()
        operatorKey = File(ready.string("operator_key")).readText().trim()
    }

    /** End it as a power cut would. */
    fun kill() {
        process?.destroyForcibly()?.waitFor()
    }

    /** Give it a new signing key, for its next start. */
    fun rotateKeys() = check(mnet(listOf("keys", "rotate", "--state", state.path)).waitFor() == 0) { log.readText() }

    /** What a device reported of each of its releases, newest first. */
    fun outcomes(device: String): List<Any?> {
        val connection = URL("$url/v1/devices/$device/releases").openConnection()
        connection.setRequestProperty("Authorization", "Bearer $operatorKey")
        val releases = parseJson(connection.getInputStream().use { it.readBytes() }) as List<*>
        return releases.map { (it as Map<*, *>)["outcome"] }
    }

    override fun close() {
        process?.destroy()
        if (process?.waitFor(20, TimeUnit.SECONDS) == false) kill()
    }

    private fun mnet(arguments: List<String>): Process =
        ProcessBuilder(listOf(Machine.text("python"), "-m", "mnet.toolchain.cli") + arguments)
            .directory(Machine.folder("repository")).redirectError(ProcessBuilder.Redirect.appendTo(log)).start()
}

/** Status and body of an answer. */
class Answer(val status: Int, val body: ByteArray)

/** Somebody between a phone and its [server], who may [change] what is answered to a path. */
class Between(private val server: String, private val change: (path: String, Answer) -> Answer) : Closeable {
    private val http = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
    val url = "http://127.0.0.1:${http.address.port}"

    init {
        http.createContext("/") { exchange ->
            val answer = change(exchange.requestURI.path, forward(exchange))
            exchange.sendResponseHeaders(answer.status, if (answer.body.isEmpty()) -1 else answer.body.size.toLong())
            exchange.responseBody.use { it.write(answer.body) }
        }
        http.start()
    }

    private fun forward(exchange: HttpExchange): Answer {
        val onward = URL(server + exchange.requestURI).openConnection() as HttpURLConnection
        onward.requestMethod = exchange.requestMethod
        for (name in listOf("Authorization", "Content-Type", "Range")) {
            exchange.requestHeaders.getFirst(name)?.let { onward.setRequestProperty(name, it) }
        }
        if (exchange.requestMethod != "GET") {
            onward.doOutput = true
            onward.outputStream.use { exchange.requestBody.copyTo(it) }
        }
        val status = onward.responseCode
        val body = (if (status < 400) onward.inputStream else onward.errorStream)?.use { it.readBytes() }
        return Answer(status, body ?: ByteArray(0))
    }

    override fun close() = http.stop(0)
}
