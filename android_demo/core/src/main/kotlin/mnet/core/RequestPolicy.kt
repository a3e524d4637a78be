package mnet.core

import java.io.File

/**
 * When a phone asks for new weights: `never`, `always`, `every:N` and `shift`, as `toolchain/phone/request_policies.py`.
 *
 * It decides at each chance: a moment at which the phone has samples that it could upload. For one thread.
 */
public interface RequestPolicy {
    /** Whether to upload these samples; may be asked again about the same ones. IllegalArgumentException: unreadable. */
    public fun asks(samples: Samples): Boolean

    /** The chance is over: the samples were uploaded, or not. Throws [java.io.IOException]. */
    public fun wentOn(samples: Samples, asked: Boolean)
}

/** What `shift` keeps in the phone's folder. */
internal const val STATISTIC = "asked.json"

private val EVERY = Regex("every:([0-9]+)")

/** The policy named [text] for a phone with this [bundle] and [state] folder; IllegalArgumentException: no such. */
public fun requestPolicy(text: String, bundle: Bundle, state: File): RequestPolicy {
    val chances = if (text == "always") 1 else EVERY.matchEntire(text)?.groupValues?.get(1)?.toIntOrNull() ?: 0
    return when {
        text == "never" -> Never
        chances > 0 -> Every(chances)
        text == "shift" -> {
            val shift = requireNotNull(bundle.policy) { "${bundle.folder} has no request policy" }
            OnShift(shift, File(state, STATISTIC))
        }
        else -> throw IllegalArgumentException("policy $text: expected never, always, every:N or shift")
    }
}

/** The weights that came with the app, or those that an operator pushes. */
private object Never : RequestPolicy {
    override fun asks(samples: Samples) = false
    override fun wentOn(samples: Samples, asked: Boolean) = Unit
}

/** At the first chance, and at every [chances]-th after it. */
private class Every(private val chances: Int) : RequestPolicy {
    private var missed = chances - 1

    override fun asks(samples: Samples) = missed >= chances - 1

    override fun wentOn(samples: Samples, asked: Boolean) {
        missed = if (asked) 0 else missed + 1
    }
}

/** When the user has shifted since the samples that the weights were made from; these are kept over a restart. */
private class OnShift(private val shift: Shift, private val file: File) : RequestPolicy {
    private var then = read()

    override fun asks(samples: Samples): Boolean = then.let { it == null || shift.asks(it, shift.statistic(samples)) }

    override fun wentOn(samples: Samples, asked: Boolean) {
        if (!asked) return
        val now = shift.statistic(samples)
        then = now
        writeDurably(file, writeJson(now.toList()).toByteArray())
    }

    /** What was kept; without it, or if it is damaged, the phone asks once more. */
    private fun read(): DoubleArray? {
        val kept = try {
            if (file.isFile) parseJson(file.readBytes()) as? List<*> else null
        } catch (error: JsonException) {
            null
        }
        val numbers = kept?.map { (it as? Number)?.toDouble() ?: return null } ?: return null
        return numbers.toDoubleArray().takeIf { it.size == shift.width && it.all(Double::isFinite) }
    }
}
