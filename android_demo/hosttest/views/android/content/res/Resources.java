package android.content.res;

import android.util.DisplayMetrics;

/** Host stand-in. */
public class Resources {
    public DisplayMetrics getDisplayMetrics() {
        return new DisplayMetrics();
    }
}
