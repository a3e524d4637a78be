package mnet.core

import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException

/** Text that is not JSON, or JSON that does not hold what was looked for. */
public class JsonException(message: String) : Exception(message)

public typealias JsonObject = Map<String, Any?>

/**
 * The value of a JSON text (RFC 8259): a Map, a List, a String, a Boolean, null, a Long, or a Double for a number
 * with a fraction, an exponent or more than 64 bits.
 *
 * Android's own `org.json` also takes comments, single quotes, `"7"` for 7 and rubbish after the end. What is signed
 * or sealed must mean the same to every reader, so this one is strict. Throws [JsonException].
 */
public fun parseJson(text: String): Any? = JsonParser(text).document()

/** The value of a JSON text in UTF-8. */
public fun parseJson(data: ByteArray): Any? = parseJson(decodeUtf8(data))

/** The object that a JSON text in UTF-8 is. */
public fun parseJsonObject(data: ByteArray): JsonObject = asObject(parseJson(data), "the text")

private fun decodeUtf8(data: ByteArray): String = try {
    Charsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(data)).toString()
} catch (error: CharacterCodingException) {
    throw JsonException("not UTF-8: $error")
}

public fun JsonObject.string(name: String): String =
    this[name] as? String ?: throw JsonException("$name is not a text")

public fun JsonObject.long(name: String): Long =
    this[name] as? Long ?: throw JsonException("$name is not a whole number of 64 bits")

internal fun JsonObject.double(name: String): Double =
    (this[name] as? Number)?.toDouble() ?: throw JsonException("$name is not a number")

public fun JsonObject.list(name: String): List<Any?> =
    this[name] as? List<*> ?: throw JsonException("$name is not a list")

public fun JsonObject.objects(name: String): List<JsonObject> = list(name).map { asObject(it, "an entry of $name") }

internal fun JsonObject.texts(name: String): List<String> =
    list(name).map { it as? String ?: throw JsonException("an entry of $name is not a text") }

public fun JsonObject.child(name: String): JsonObject = asObject(this[name], name)

// Keys of a parsed object are texts, always.
@Suppress("UNCHECKED_CAST")
internal fun asObject(value: Any?, where: String): JsonObject =
    value as? JsonObject ?: throw JsonException("$where is not an object")

/** The JSON text of a value made of the types that [parseJson] returns. */
public fun writeJson(value: Any?): String = buildString { write(value) }

private fun StringBuilder.write(value: Any?) {
    when (value) {
        is Map<*, *> -> writeAll('{', '}', value.entries) { (name, entry) ->
            quote(name as String)
            append(':')
            write(entry)
        }
        is Iterable<*> -> writeAll('[', ']', value) { write(it) }
        is String -> quote(value)
        null, is Boolean, is Long, is Int -> append(value)
        is Double, is Float -> append(value.also { require((it as Number).toDouble().isFinite()) { "no JSON for $it" } })
        else -> throw IllegalArgumentException("no JSON for a ${value::class}")
    }
}

private fun <T> StringBuilder.writeAll(open: Char, close: Char, items: Iterable<T>, write: (T) -> Unit) {
    append(open)
    items.forEachIndexed { index, item ->
        if (index > 0) append(',')
        write(item)
    }
    append(close)
}

private fun StringBuilder.quote(text: String) {
    append('"')
    for (char in text) {
        when {
            char == '"' || char == '\\' -> append('\\').append(char)
            char < ' ' -> append("\\u").append(char.code.toString(16).padStart(4, '0'))
            else -> append(char)
        }
    }
    append('"')
}

private class JsonParser(private val text: String) {
    private var at = 0

    fun document(): Any? {
        val value = value(depth = 0)
        skipBlanks()
        if (at < text.length) fail("text after the end")
        return value
    }

    private fun value(depth: Int): Any? {
        if (depth > MAX_DEPTH) fail("nested too deep")
        skipBlanks()
        return when (peek()) {
            '{' -> entries(depth)
            '[' -> items(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun entries(depth: Int): JsonObject {
        val entries = LinkedHashMap<String, Any?>()
        sequence('{', '}') {
            skipBlanks()
            val name = string()
            skipBlanks()
            expect(':')
            entries[name] = value(depth + 1)
        }
        return entries
    }

    private fun items(depth: Int): List<Any?> {
        val items = ArrayList<Any?>()
        sequence('[', ']') { items.add(value(depth + 1)) }
        return items
    }

    private fun sequence(open: Char, close: Char, element: () -> Unit) {
        expect(open)
        skipBlanks()
        if (peek() == close) {
            at++
            return
        }
        while (true) {
            element()
            skipBlanks()
            if (peek() == close) break
            expect(',')
        }
        at++
    }

    private fun string(): String {
        expect('"')
        return buildString {
            while (true) {
                val char = next()
                when {
                    char == '"' -> return@buildString
                    char == '\\' -> append(escaped())
                    char < ' ' -> fail("a control character in a text")
                    else -> append(char)
                }
            }
        }
    }

    private fun escaped(): Char = when (val char = next()) {
        '"', '\\', '/' -> char
        'b' -> '\b'
        'f' -> '\u000c'
        'n' -> '\n'
        'r' -> '\r'
        't' -> '\t'
        'u' -> {
            val digits = String(CharArray(4) { next() })
            if (!HEX.matches(digits)) fail("\\u$digits")
            digits.toInt(16).toChar()
        }
        else -> fail("\\$char")
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("unknown word")
        at += word.length
        return value
    }

    private fun number(): Number {
        val match = NUMBER.find(text, at)
        if (match == null || match.range.first != at) fail("no value")
        at = match.range.last + 1
        return match.value.toLongOrNull() ?: match.value.toDouble()
    }

    private fun skipBlanks() {
        while (at < text.length && text[at] in " \t\n\r") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else fail("the text ends early")

    private fun next(): Char = peek().also { at++ }

    private fun expect(char: Char) {
        if (next() != char) fail("no '$char'")
    }

    private fun fail(what: String): Nothing = throw JsonException("$what at character $at")

    private companion object {
        const val MAX_DEPTH = 100
        val HEX = Regex("[0-9a-fA-F]{4}")
        val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
    }
}
