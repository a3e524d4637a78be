package android.text.format;

/** Host stand-in, in English. */
public final class DateUtils {
    public static final long SECOND_IN_MILLIS = 1000;

    private DateUtils() {}

    public static CharSequence getRelativeTimeSpanString(long time, long now, long resolution) {
        return Math.max(0, now - time) / SECOND_IN_MILLIS + " sec. ago";
    }
}
