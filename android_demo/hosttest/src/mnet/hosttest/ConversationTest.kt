package mnet.hosttest

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import java.io.Closeable
import java.io.File
import java.math.BigDecimal
import java.net.InetSocketAddress
import java.nio.file.Files
import java.util.Base64
import java.util.concurrent.Executors
import mnet.core.Bundle
import mnet.core.CloudClient
import mnet.core.Denied
import mnet.core.JsonObject
import mnet.core.Offline
import mnet.core.Phone
import mnet.core.Refused
import mnet.core.Roots
import mnet.core.Samples
import mnet.core.WeightStore
import mnet.core.child
import mnet.core.list
import mnet.core.long
import mnet.core.objects
import mnet.core.parseJsonObject
import mnet.core.string
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory

/** The phone leads every conversation of `tests/vectors/conversations.json` as it says, on the real runtime. */
class ConversationTest {
    private val vectors = Machine.folder("vectors")

    @TestFactory
    fun `the phone asks, runs and says what it should`(): List<DynamicTest> =
        parseJsonObject(File(vectors, "conversations.json").readBytes()).objects("vectors").map { vector ->
            DynamicTest.dynamicTest(vector.string("name")) { lead(vector.objects("steps")) }
        }

    private fun lead(steps: List<JsonObject>) {
        val state = Files.createTempDirectory("conversation").toFile()
        try {
            ScriptedServer().use { server ->
                Owner(Bundle.open(File(vectors, "exported/ranker")), state, server).use { owner ->
                    for ((number, step) in steps.withIndex()) owner.judge(step, "step $number: ${step.string("do")}")
                }
            }
        } finally {
            state.deleteRecursively()
        }
    }

    /** Does with a phone what the steps say. */
    private class Owner(
        private val bundle: Bundle, private val state: File, private val server: ScriptedServer,
    ) : Closeable {
        private var clock = 0L
        private var roots: Roots? = null
        private var phone: Phone? = null

        fun judge(step: JsonObject, where: String) {
            clock = step.long("clock") * 1000
            server.begin(step.child("answers"))
            if ("damaged" in step) {
                for ((name, content) in step.child("damaged")) {
                    File(state, name).run { if (content == null) delete() else writeText(content as String) }
                }
            }
            if ("roots" in step) roots = if (step["roots"] == null) null else Roots.read(step.child("roots"))
            if (step.string("do") == "restart") close()
            val phone = phone ?: start().also { phone = it }
            val outcome = CloudClient(server.url).use { outcome(phone, it, step) }
            assertEquals(step.string("outcome"), outcome, where)
            assertEquals(step.list("requests"), server.requests, where)
            assertEquals(step.long("version"), phone.live.version, where)
            assertEquals(step["stale"], phone.stale, where)
        }

        private fun start() = Phone(bundle, Machine.program(bundle), WeightStore(state), {}, { clock }, roots)

        private fun outcome(phone: Phone, client: CloudClient, step: JsonObject): String {
            try {
                when (step.string("do")) {
                    "poll" -> return if (phone.poll(client, waitSeconds = 0)) "swapped" else "nothing"
                    "enrol" -> phone.enrol(client, "enrolment-key")
                    "measure" -> for (pair in step.list("values")) {
                        val (metric, value) = pair as List<*>
                        phone.report(metric as String, (value as Number).toDouble())
                    }
                    "upload" -> phone.upload(client, Samples.Ids(listOf(1, 2, 3)))
                }
            } catch (error: IllegalArgumentException) {
                return "invalid"
            } catch (error: Offline) {
                return "offline"
            } catch (denial: Denied) {
                return "denied ${denial.status}"
            } catch (refusal: Refused) {
                return "refused ${refusal.reason}"
            }
            return "done"
        }

        override fun close() {
            phone?.close()
            phone = null
        }
    }
}

/** Answers by the script of a step, and keeps what it was asked, as `tests/vectors/scripted_server.py`. */
private class ScriptedServer : Closeable {
    private val http = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
    private val threads = Executors.newCachedThreadPool()
    private var answers: Map<String, ArrayDeque<JsonObject>> = emptyMap()
    val requests = ArrayList<String>()
    val url = "http://127.0.0.1:${http.address.port}"

    init {
        http.executor = threads
        http.createContext("/", ::answer)
        http.start()
    }

    @Synchronized
    fun begin(step: JsonObject) {
        requests.clear()
        answers = step.keys.associateWith { ArrayDeque(step.objects(it)) }
    }

    @Synchronized
    private fun answer(exchange: HttpExchange) {
        val body = exchange.requestBody.readBytes()
        val path = exchange.requestURI.path
        val route = ROUTES.entries.firstOrNull { it.key.matches("${exchange.requestMethod} $path") }?.value ?: path
        requests.add(written(route, exchange.requestURI.query.orEmpty(), body))
        val listed = answers[route]
        val answer = when {
            listed == null -> NOTHING
            listed.size > 1 -> listed.removeFirst()
            else -> listed.first()
        }
        for ((name, value) in answer.child("headers")) exchange.responseHeaders.add(name, value as String)
        val content = Base64.getDecoder().decode(answer.string("body"))
        exchange.sendResponseHeaders(answer.long("status").toInt(), if (content.isEmpty()) -1 else content.size.toLong())
        exchange.responseBody.use { it.write(content) }
    }

    private fun written(route: String, query: String, body: ByteArray): String {
        val values = query.split('&').associate { it.substringBefore('=') to it.substringAfter('=') }
        return when (route) {
            "release" -> "release after=${values["after"]} keys=${values["keys"]}"
            "report" -> parseJsonObject(body).let { "report ${it.long("version")} ${it.string("outcome")}" }
            "measured" -> "measured " + parseJsonObject(body).objects("totals").joinToString(", ") { each ->
                val numbers = listOf("sum", "squares").map { name -> plain(each[name] as Number) }
                "${each.long("version")} ${each.string("metric")} ${each.long("count")} ${numbers.joinToString(" ")}"
            }
            else -> route
        }
    }

    private fun plain(number: Number) = BigDecimal(number.toString()).stripTrailingZeros().toPlainString()

    override fun close() {
        http.stop(0)
        threads.shutdownNow()
    }

    private companion object {
        val ROUTES = mapOf(
            "POST /v1/devices" to "enrol", "POST /v1/devices/\\w+/context" to "context",
            "GET /v1/devices/\\w+/release" to "release", "POST /v1/devices/\\w+/reports" to "report",
            "GET /v1/packs/[0-9a-f]{64}" to "pack", "GET /v1/keys" to "keys",
            "PUT /v1/devices/\\w+/measurements" to "measured",
        ).mapKeys { Regex(it.key) }
        val NOTHING: JsonObject = mapOf(
            "status" to 404L, "headers" to emptyMap<String, Any>(),
            "body" to Base64.getEncoder().encodeToString("{\"detail\": \"nothing there\"}".toByteArray()),
        )
    }
}
