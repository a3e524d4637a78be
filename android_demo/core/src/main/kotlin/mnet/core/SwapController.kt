package mnet.core

import java.io.Closeable
import kotlin.math.abs

/** One inference: the model's inputs, without the slots, give its outputs. IllegalArgumentException on others. */
public fun interface Run {
    public operator fun invoke(inputs: List<Tensor>): List<Tensor>

    /** Give back what the runtime holds for it, now and not when the garbage is collected; a later call loads it again. */
    public fun release(): Unit = Unit
}

/** A loaded model file. What is bound stays bound: a later [bind] does not change the [Run] of an earlier one. */
public interface Program : Closeable {
    /** Throws [BundleException] where the runtime cannot, [java.io.IOException] where the disk is full. */
    public fun bind(parameters: Map<String, Tensor>): Run
}

/**
 * One version of the weights, ready to run. It never changes, so an inference belongs to one version. [name] is that of weights
 * that were loaded to be switched to; null for those that were swapped in.
 */
public class Snapshot(public val version: Long, public val run: Run, public val name: String? = null)

/** How long the parts of one swap took, in nanoseconds, as `export/session.py` names them. */
public class SwapTimes(public val verify: Long, public val write: Long, public val selfTest: Long, public val publish: Long) {
    public val total: Long get() = verify + write + selfTest + publish
}

/**
 * Serves a bundle's model while its weights are swapped under it; safe to use from several threads.
 *
 * A swap binds and tests a new snapshot next to the live one and publishes it by assigning one reference, which every
 * inference reads once: it sees the old weights or the new ones, never a mixture.
 *
 * Several packs, such as adapters, can be resident: [load] tests one and keeps it, [use] switches to it by the same assignment.
 * Each holds what the runtime needs for one version; how many there are is the app's to bound.
 */
public class SwapController(private val bundle: Bundle, private val program: Program) : Closeable {
    private val manifest = bundle.manifest

    /** The weights that came with the bundle, to compare with. */
    public val default: Snapshot = Snapshot(0, program.bind(bundle.defaultWeights))

    /** Held while [swapped], [resident] and [live] change: a moment, where a swap takes its time under the lock of all swaps. */
    private val publishing = Any()

    /** The snapshot last swapped in, whether or not another is in [use]; [default] before the first. */
    @Volatile
    public var swapped: Snapshot = default
        private set

    /** Of the last [tested]: when it began, had checked the pack, had bound it and had run it. */
    private val marks = LongArray(4)
    private val resident = LinkedHashMap<String, Snapshot>()

    /** The snapshot that serves now; keep it to know which version an output belongs to. */
    @Volatile
    public var live: Snapshot = default
        private set

    init {
        for (sample in bundle.golden) {
            if (!agree(default.run(sample.inputs), sample.expected)) {
                throw IntegrityException(Reason.SELF_TEST_FAILED, "${bundle.folder}: outputs differ from the golden ones")
            }
        }
    }

    /** Check, self-test and publish a weight pack; on [Refused] or [java.io.IOException], the current ones keep serving. */
    @Synchronized
    public fun swap(pack: ByteArray): SwapTimes {
        val new = tested(pack, newerThan = swapped.version, name = null)
        change {
            swapped = new
            live = new
        }
        val (started, verified, written, tested) = marks
        return SwapTimes(verified - started, written - verified, tested - written, System.nanoTime() - tested)
    }

    /**
     * Check and self-test a weight pack of a higher version than the one of this [name], and keep it for [use]; what serves
     * stays as it is. On [Refused] or [java.io.IOException], nothing changes.
     */
    @Synchronized
    public fun load(name: String, pack: ByteArray) {
        val former = synchronized(publishing) { resident[name] }
        val new = tested(pack, newerThan = former?.version ?: -1, name)
        change { resident[name] = new }
    }

    /**
     * Serve the weights that were loaded under a [name], from the next inference on; null: those last swapped in. It costs one
     * assignment. Throws [NoSuchElementException] for a name that is not loaded.
     */
    public fun use(name: String?): Unit = change {
        live = (if (name == null) swapped else resident[name]) ?: throw NoSuchElementException(
            "no weights are loaded as '$name'; there are ${resident.keys.joinToString().ifEmpty { "none" }}",
        )
    }

    /** Forget the weights of a [name]; where they serve, they do so until the next [use] or [swap]. */
    public fun unload(name: String): Unit = change { resident.remove(name) }

    /** Serve the default weights again. */
    @Synchronized
    public fun reset(): Unit = change {
        swapped = default
        live = default
    }

    /** Change what serves and what is kept; give back what is neither any more. */
    private fun change(make: () -> Unit) {
        val gone = synchronized(publishing) {
            val before = kept()
            make()
            before - kept()
        }
        gone.forEach { it.run.release() }
    }

    private fun kept(): Set<Snapshot> = setOf(swapped, live) + resident.values

    /** A snapshot of a pack that passed all checks; throws [Refused]. Under the lock of all swaps. */
    private fun tested(pack: ByteArray, newerThan: Long, name: String?): Snapshot {
        marks[0] = System.nanoTime()
        val new = readPack(pack, manifest)
        if (new.version <= newerThan) {
            throw Refused(Reason.STALE_VERSION, "the pack is version ${new.version}, $newerThan is being served")
        }
        marks[1] = System.nanoTime()
        val run = try {
            program.bind(new.parameters)
        } catch (error: BundleException) {
            throw Refused(Reason.SELF_TEST_FAILED, "the model does not load: ${error.message}")
        }
        marks[2] = System.nanoTime()
        try {
            selfTest(run, new.probe)
        } catch (refusal: Refused) {
            run.release()
            throw refusal
        }
        marks[3] = System.nanoTime()
        return Snapshot(new.version, run, name)
    }

    override fun close(): Unit = program.close()

    /** Catch a runtime that serves old weights: it must give what eager PyTorch gave for this pack. */
    private fun selfTest(run: Run, expected: DoubleArray) {
        val outputs = try {
            run(bundle.golden.first().inputs)
        } catch (error: IllegalArgumentException) {
            throw Refused(Reason.SELF_TEST_FAILED, "the model does not run: ${error.message}")
        }
        if (outputs.any { output -> output.numbers().any { !it.isFinite() } }) {
            throw Refused(Reason.SELF_TEST_FAILED, "an output is not finite under the new weights")
        }
        val actual = probe(outputs, manifest.outputs.map { it.scale })
        // False for NaN, which makes it a failure.
        if (!(distance(actual, expected) <= manifest.golden.tolerance)) {
            throw Refused(Reason.SELF_TEST_FAILED, "the outputs are not those of the pack's weights")
        }
    }

    private fun agree(actual: List<Tensor>, expected: List<Tensor>): Boolean =
        actual.size == expected.size && actual.indices.all { agree(actual[it], expected[it], manifest.outputs[it].scale) }

    /** Whether no element is off by more than `tolerance * max(scale, largest magnitude expected)`; integers not at all. */
    private fun agree(actual: Tensor, expected: Tensor, scale: Double): Boolean {
        if (actual.shape != expected.shape || actual.dtype != expected.dtype) return false
        val (ours, theirs) = actual.numbers() to expected.numbers()
        if (expected.dtype !in FLOATS) return ours.contentEquals(theirs)
        val allowed = manifest.golden.tolerance * (theirs.maxOfOrNull { abs(it) }?.coerceAtLeast(scale) ?: scale)
        // An infinite allowance would pass any weights; `<=` is false for NaN, which makes it a failure.
        return allowed.isFinite() && ours.indices.all { abs(ours[it] - theirs[it]) <= allowed }
    }

    private companion object {
        val FLOATS = setOf(Tensor.FLOAT32, Tensor.FLOAT16)
    }
}
