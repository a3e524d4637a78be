package mnet.core

/** Why a phone refuses new weights, or a bundle; the same names as in `export/format/errors.py`. */
public enum class Reason {
    BAD_SIGNATURE,
    WRONG_DEVICE,
    WRONG_BUNDLE,
    STALE_VERSION,
    EXPIRED,
    WRONG_SIZE,
    WRONG_HASH,
    MALFORMED,
    MISSING_TENSOR,
    EXTRA_TENSOR,
    WRONG_SHAPE,
    WRONG_DTYPE,
    NOT_FINITE,
    SELF_TEST_FAILED,
    MISSING_FILE,
    EXTRA_FILE;

    /** The name that all implementations share, as `bad_signature`. */
    override fun toString(): String = name.lowercase()
}

/** New weights were refused; the phone keeps serving the current ones. */
public class Refused(public val reason: Reason, public val detail: String) : Exception("$reason: $detail")

/** A bundle cannot be used: missing, or of a schema unknown here. */
public open class BundleException(message: String) : Exception(message)

/** A bundle is not what was exported: a file changed, is missing or was added, or its outputs are wrong. */
public class IntegrityException(public val reason: Reason, public val detail: String) : BundleException("$reason: $detail")
