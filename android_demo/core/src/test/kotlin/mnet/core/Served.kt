package mnet.core

import com.sun.net.httpserver.HttpServer
import java.net.InetSocketAddress

/** A server that gives each path its answer, and 404 to any other; [heard] gets the path and the body of each request. */
fun <T> served(answers: Map<String, Any>, heard: MutableList<String> = ArrayList(), use: (String) -> T): T {
    val http = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
    http.createContext("/") { exchange ->
        val path = exchange.requestURI.path
        heard.add("$path ${exchange.requestBody.readBytes().toString(Charsets.UTF_8)}")
        val body = writeJson(answers[path] ?: mapOf("detail" to "nothing there")).toByteArray()
        exchange.sendResponseHeaders(if (path in answers) 200 else 404, body.size.toLong())
        exchange.responseBody.use { it.write(body) }
    }
    http.start()
    try {
        return use("http://127.0.0.1:${http.address.port}")
    } finally {
        http.stop(0)
    }
}
