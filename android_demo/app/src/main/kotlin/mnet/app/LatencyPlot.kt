package mnet.app

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View

/** Bars of the last latencies, oldest left, with a line at the median. */
class LatencyPlot(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val bar = Paint(Paint.ANTI_ALIAS_FLAG).apply { color = context.getColor(R.color.accent) }
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = context.getColor(R.color.quiet)
        strokeWidth = resources.displayMetrics.density
    }
    private var nanos = LongArray(0)
    private var median = 0L

    fun show(latencies: LongArray, p50: Long?) {
        nanos = latencies
        median = p50 ?: 0
        contentDescription = context.getString(R.string.plot, latencies.size)
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        if (nanos.isEmpty()) return
        // One slow call among hundreds would flatten all the others: what is over three medians is cut off.
        val top = minOf(nanos.max(), 3 * median).coerceAtLeast(1).toFloat()
        val slot = width.toFloat() / maxOf(nanos.size, LEAST_SLOTS)
        for ((index, value) in nanos.withIndex()) {
            val height = (value / top).coerceAtMost(1f) * height
            canvas.drawRect(index * slot, this.height - height, index * slot + slot * FILLED, this.height.toFloat(), bar)
        }
        val y = height - median / top * height
        canvas.drawLine(0f, y, width.toFloat(), y, line)
    }

    private companion object {
        const val LEAST_SLOTS = 48
        const val FILLED = 0.7f
    }
}
