package android.text.format;

import android.content.Context;

/** Host stand-in, in English. */
public final class Formatter {
    private Formatter() {}

    public static String formatShortFileSize(Context context, long bytes) {
        return bytes < 900 ? bytes + " B" : String.format("%.1f kB", bytes / 1000.0);
    }
}
