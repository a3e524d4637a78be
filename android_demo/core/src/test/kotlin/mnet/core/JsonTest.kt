package mnet.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test

class JsonTest {
    @Test
    fun `every kind of value is read`() {
        val text = """ {"a": [1, -2.5, 3e2, true, null], "b": {"c": "ä\n\u00e9\\"}, "d": 9223372036854775807} """
        val expected = mapOf(
            "a" to listOf(1L, -2.5, 300.0, true, null), "b" to mapOf("c" to "ä\né\\"), "d" to Long.MAX_VALUE,
        )
        assertEquals(expected, parseJson(text))
    }

    @Test
    fun `what is written is read back`() {
        val value = mapOf("text" to "\"\\\n\u0001ü", "list" to listOf(1L, null, false), "empty" to emptyMap<String, Any?>())
        assertEquals(value, parseJson(writeJson(value)))
    }

    @Test
    fun `what is not JSON is refused`() {
        val wrong = listOf(
            "", " ", "{", "[1,]", "{\"a\":1,}", "{'a':1}", "{a:1}", "[1] x", "/* */ 1", "01", "+1", ".5", "1.", "NaN",
            "Infinity", "tru", "\"a", "\"\\x\"", "\"\\u12g4\"", "\"\t\"", "[1 2]", "\"a\" \"b\"", "[".repeat(10_000),
        )
        for (text in wrong) assertThrows(JsonException::class.java, { parseJson(text) }, text.take(20))
        assertThrows(JsonException::class.java) { parseJson(byteArrayOf(0x22, 0xff.toByte(), 0x22)) }
    }

    @Test
    fun `a number of another kind is refused`() {
        val entries = parseJsonObject("""{"text":"7","half":7.5,"whole":7,"large":9223372036854775808}""".toByteArray())
        assertEquals(7, entries.long("whole"))
        for (name in listOf("text", "half", "large", "none")) {
            assertThrows(JsonException::class.java, { entries.long(name) }, name)
        }
    }
}
