package mnet.core

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test

class LatencyStatsTest {
    @Test
    fun `quantiles are of the latest latencies only`() {
        val stats = LatencyStats(capacity = 10)
        assertNull(stats.quantile(0.5))
        for (nanos in 1L..25L) stats.add(nanos)
        assertArrayEquals(LongArray(10) { 16L + it }, stats.latest())
        assertEquals(20, stats.quantile(0.5))
        assertEquals(24, stats.quantile(0.9))
        assertEquals(25, stats.quantile(1.0))
    }
}
