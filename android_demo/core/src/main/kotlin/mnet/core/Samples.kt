package mnet.core

/** What a phone uploads, and tells a shift of its user by, oldest first. */
public sealed class Samples {
    public abstract val size: Int

    /** As the server's contract has them. */
    internal abstract val json: List<Any>

    /** Items, from 1. */
    public class Ids(public val ids: List<Long>) : Samples() {
        override val size: Int get() = ids.size
        override val json get() = ids
    }

    /** Vectors of the same length, such as embeddings of images. */
    public class Vectors(public val rows: List<FloatArray>) : Samples() {
        override val size: Int get() = rows.size
        override val json get() = rows.map { it.toList() }
    }

    /** Texts, such as the last ones that the user wrote. */
    public class Texts(public val texts: List<String>) : Samples() {
        override val size: Int get() = texts.size
        override val json get() = texts
    }

    /** Objects of whatever JSON can hold, as the server's task reads them. */
    public class Objects(public val rows: List<Map<String, Any?>>) : Samples() {
        override val size: Int get() = rows.size
        override val json get() = rows
    }
}
