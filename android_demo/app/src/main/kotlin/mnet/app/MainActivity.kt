package mnet.app

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.text.format.DateUtils
import android.text.format.Formatter
import android.view.View
import android.view.ViewGroup
import android.widget.LinearLayout
import android.widget.TextView
import mnet.app.recommender.Row
import mnet.app.recommender.Screen
import mnet.app.recommender.Status
import mnet.app.recommender.Weights

/** What was chosen lately, the weights that serve, and what they suggest next. */
class MainActivity : Activity() {
    private val demo get() = application as DemoApplication
    private val clock = Handler(Looper.getMainLooper())

    // The age of the weights is shown in words, which must be kept up to date.
    private val tick: Runnable = object : Runnable {
        override fun run() {
            show(demo.shown)
            clock.postDelayed(this, TICK_MILLIS)
        }
    }

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.main)
        view(R.id.ask).setOnClickListener { demo.recommender?.ask() }
        view(R.id.reset).setOnClickListener { demo.recommender?.reset() }
        view(R.id.yours).setOnClickListener { demo.recommender?.compare(everybody = false) }
        view(R.id.everybody).setOnClickListener { demo.recommender?.compare(everybody = true) }
        view(R.id.settings).setOnClickListener { startActivity(Intent(this, SettingsActivity::class.java)) }
    }

    override fun onStart() {
        super.onStart()
        demo.observe(::show)
        demo.setInFront(true)
        clock.postDelayed(tick, TICK_MILLIS)
    }

    override fun onStop() {
        clock.removeCallbacks(tick)
        demo.observe(null)
        // A turn of the phone is no reason to hang up.
        if (!isChangingConfigurations) demo.setInFront(false)
        super.onStop()
    }

    private fun show(shown: Shown) {
        when (shown) {
            is Shown.Ready -> show(shown.screen)
            Shown.Starting -> showStatus(getString(R.string.status_starting), R.color.waiting)
            Shown.NoBundle -> showStatus(getString(R.string.status_no_bundle), R.color.bad)
            is Shown.Broken -> showStatus(getString(R.string.status_broken, shown.detail), R.color.bad)
        }
    }

    private fun show(screen: Screen) {
        showStatus(screen.status)
        showWeights(screen.weights)
        view(R.id.nothing_yet).visibility = if (screen.recent.isEmpty()) View.VISIBLE else View.GONE
        val chips = children(R.id.recent, R.layout.chip, screen.recent.size)
        for ((chip, title) in chips.zip(screen.recent)) (chip as TextView).text = title
        showList(screen)
        val rows = children(R.id.ranked, R.layout.row, screen.ranked.size)
        for ((index, row) in screen.ranked.withIndex()) showRow(rows[index], index + 1, row)
        (findViewById(R.id.plot) as LatencyPlot).show(screen.latencies, screen.p50)
        text(R.id.inference).text = getString(R.string.inference, duration(screen.p50), duration(screen.p90))
    }

    /** Whose list it is, and why it is another one. */
    private fun showList(screen: Screen) {
        view(R.id.choice).visibility = if (screen.weights.version > 0) View.VISIBLE else View.GONE
        for ((id, chosen) in listOf(R.id.yours to !screen.everybody, R.id.everybody to screen.everybody)) {
            text(id).setTextColor(getColor(if (chosen) R.color.accent else R.color.quiet))
        }
        val change = screen.change
        text(R.id.why).visibility = if (change == null) View.GONE else View.VISIBLE
        text(R.id.why).text = when {
            change == null -> ""
            screen.everybody -> getString(R.string.why_everybody)
            else -> getString(R.string.why, change.chosen.joinToString(), change.up, change.down)
        }
    }

    private fun showRow(view: View, rank: Int, row: Row) {
        (view.findViewById(R.id.rank) as TextView).text = "$rank"
        (view.findViewById(R.id.title) as TextView).text = row.title
        val moved = view.findViewById(R.id.moved) as TextView
        val up = row.moved > 0
        val places = Math.abs(row.moved)
        moved.visibility = if (places == 0) View.INVISIBLE else View.VISIBLE
        moved.text = getString(if (up) R.string.moved_up else R.string.moved_down, places)
        moved.contentDescription = getString(if (up) R.string.up_description else R.string.down_description, places)
        moved.setTextColor(getColor(if (up) R.color.good else R.color.bad))
        view.setOnClickListener { demo.recommender?.act(row.item) }
    }

    private fun showWeights(weights: Weights) {
        val personal = weights.version > 0
        text(R.id.weights).text =
            if (personal) getString(R.string.weights_personal, weights.version) else getString(R.string.weights_static)
        text(R.id.weights_details).text = when {
            !personal -> getString(R.string.weights_from_app)
            !weights.kept -> getString(R.string.not_kept)
            else -> details(weights)
        }
    }

    private fun details(weights: Weights): String {
        val released = weights.releasedAt ?: return Formatter.formatShortFileSize(this, weights.bytes)
        val now = System.currentTimeMillis()
        val age = DateUtils.getRelativeTimeSpanString(released * 1000, now, DateUtils.SECOND_IN_MILLIS)
        val size = Formatter.formatShortFileSize(this, weights.bytes)
        return if (weights.swapNanos == null) getString(R.string.weights_details, age, size)
        else getString(R.string.weights_swapped, age, size, duration(weights.swapNanos))
    }

    private fun showStatus(status: Status) = when (status) {
        Status.Alone -> showStatus(getString(R.string.status_alone), R.color.quiet)
        Status.Connecting -> showStatus(getString(R.string.status_connecting), R.color.waiting)
        Status.Waiting -> showStatus(getString(R.string.status_waiting), R.color.good)
        Status.Settled -> showStatus(getString(R.string.status_settled), R.color.good)
        Status.Offline -> showStatus(getString(R.string.status_offline), R.color.bad)
        Status.Stale -> showStatus(getString(R.string.status_stale), R.color.bad)
        is Status.Failed -> showStatus(getString(R.string.status_failed, status.detail), R.color.bad)
        is Status.Busy -> showStatus(getString(R.string.status_busy, status.millis / 1000), R.color.waiting)
        is Status.Asked -> showStatus(getString(R.string.status_asked, status.version), R.color.waiting)
        is Status.Refused -> showStatus(getString(R.string.status_refused, status.reason), R.color.bad)
        is Status.Denied -> showStatus(getString(R.string.status_denied, status.detail), R.color.bad)
    }

    private fun showStatus(line: String, color: Int) {
        text(R.id.status).text = line
        view(R.id.dot).background.mutate().setTint(getColor(color))
    }

    /** The children of a group, made or removed until there are [count]: what is there already is shown again. */
    private fun children(group: Int, layout: Int, count: Int): List<View> {
        val parent = findViewById(group) as LinearLayout
        while (parent.childCount > count) parent.removeViewAt(parent.childCount - 1)
        while (parent.childCount < count) layoutInflater.inflate(layout, parent as ViewGroup, true)
        return List(count) { parent.getChildAt(it) }
    }

    private fun view(id: Int): View = findViewById(id)

    private fun text(id: Int): TextView = findViewById(id) as TextView

    private fun duration(nanos: Long?): String = when {
        nanos == null -> "–"
        nanos < 1_000_000 -> getString(R.string.micros, nanos / 1_000)
        else -> getString(R.string.millis, nanos / 1e6)
    }

    private companion object {
        const val TICK_MILLIS = 10_000L
    }
}
