package mnet.core

import java.io.Closeable

/** A model that a runtime has loaded. */
public interface Model : Closeable {
    /** One inference; IllegalArgumentException on inputs that it does not take. */
    public fun run(inputs: List<Tensor>): List<Tensor>
}

/**
 * A program whose weights are bytes of it, so that each version is a model of its own, which [load] loads. A version that was
 * replaced is freed at once; whoever still runs it has it loaded again.
 */
public class ModelPerVersion(private val load: (Map<String, Tensor>) -> Model) : Program {
    /** Those that are loaded. */
    private val versions = HashSet<Version>()

    override fun bind(parameters: Map<String, Tensor>): Run = Version(parameters).also { it.loaded() }

    override fun close(): Unit = synchronized(versions) { versions.toList() }.forEach { it.release() }

    /** A version that is loaded while it is used; what the garbage collector sees of it is small. */
    private inner class Version(private val parameters: Map<String, Tensor>) : Run {
        private var model: Model? = null

        @Synchronized
        fun loaded(): Model = model ?: load(parameters).also { loaded ->
            model = loaded
            synchronized(versions) { versions.add(this) }
        }

        @Synchronized
        override fun invoke(inputs: List<Tensor>): List<Tensor> = loaded().run(inputs)

        @Synchronized
        override fun release() {
            model?.close()
            model = null
            synchronized(versions) { versions.remove(this) }
        }
    }
}
