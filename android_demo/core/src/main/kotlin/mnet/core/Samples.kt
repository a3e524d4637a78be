package mnet.core

/** What a phone uploads, and tells a shift of its user by, oldest first. */
sealed class Samples {
    abstract val size: Int

    /** As the server's contract has them. */
    internal abstract val json: List<Any>

    /** Items, from 1. */
    class Ids(val ids: List<Long>) : Samples() {
        override val size get() = ids.size
        override val json get() = ids
    }

    /** Vectors of the same length, such as embeddings of images. */
    class Vectors(val rows: List<FloatArray>) : Samples() {
        override val size get() = rows.size
        override val json get() = rows.map { it.toList() }
    }
}
