package mnet.app.recommender

import mnet.core.Reason

/** Everything that the main screen shows, at one moment. */
class Screen(
    /** Titles, newest first. */
    val recent: List<String>,
    /** Best first. */
    val ranked: List<Row>,
    val weights: Weights,
    /** Whether [ranked] is what everybody's weights suggest, and not those of one's own. */
    val everybody: Boolean,
    /** Why the list is another one; null where it is not. */
    val change: Change?,
    /** Of the last inferences, in nanoseconds, oldest first. */
    val latencies: LongArray,
    val p50: Long?,
    val p90: Long?,
    val status: Status,
)

/** A suggestion; [moved]: ranks that it rose (or fell, if negative) when the weights changed. */
class Row(val item: Int, val title: String, val moved: Int)

/** New weights came after [chosen], titles, newest first; under them [up] suggestions rose and [down] fell. */
class Change(val chosen: List<String>, val up: Int, val down: Int)

/** The weights that serve: version 0 came with the app. [releasedAt] in Unix seconds. */
class Weights(val version: Long, val releasedAt: Long?, val bytes: Long, val swapNanos: Long?, val kept: Boolean)

/** What the network is doing. */
sealed class Status {
    object Alone : Status()
    object Connecting : Status()
    object Waiting : Status()

    /** The policy saw no shift in what was chosen last: the weights that serve still fit. */
    object Settled : Status()

    object Offline : Status()

    /** For a day nobody vouched that the weights that serve are the newest. */
    object Stale : Status()
    class Failed(val detail: String) : Status()
    class Busy(val millis: Long) : Status()
    class Asked(val version: Long) : Status()
    class Refused(val reason: Reason) : Status()
    class Denied(val detail: String) : Status()
}
