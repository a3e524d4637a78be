package mnet.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory

class VectorsTest {
    @TestFactory
    fun `the phone gives the verdict`(): List<DynamicTest> = Vector.all().filter { it.kind != "swap" }.map { vector ->
        DynamicTest.dynamicTest(vector.name) { assertEquals(vector.verdict, vector.judge()) }
    }

    @Test
    fun `most vectors are bad`() {
        val vectors = Vector.all()
        assertTrue(vectors.size >= 200)
        assertTrue(vectors.count { it.kind != "asks" && it.verdict != "accepted" } >= 150)
    }
}
