package mnet.core

/** What happens to a phone, for a screen or a log. */
public sealed class PhoneEvent {
    /** The server answers (again). */
    public object Connected : PhoneEvent()

    public class Enrolled(public val device: String) : PhoneEvent()
    public class Uploaded(public val samples: Int, public val version: Long) : PhoneEvent()

    /** [swapNanos]: verify, bind, self-test and publish. [persisted] is false where the disk was full. */
    public class Swapped(
        public val version: Long, public val bytes: Int, public val fetchNanos: Long, public val swapNanos: Long, public val persisted: Boolean,
    ) : PhoneEvent()

    public class RefusedWeights(public val reason: Reason, public val detail: String) : PhoneEvent()
    public class MustWait(public val millis: Long) : PhoneEvent()
    public class WentOffline(public val detail: String) : PhoneEvent()
    public class WasDenied(public val status: Int, public val detail: String) : PhoneEvent()

    /** For a day nobody vouched that the running version is the newest; what to do then is for the app to say. */
    public class WentStale(public val version: Long) : PhoneEvent()

    /** It is known to be the newest again. */
    public class BecameFresh(public val version: Long) : PhoneEvent()

    /** A fault of ours; the phone serves, and tries again. */
    public class Failed(public val detail: String) : PhoneEvent()
}
