package android.util;

/** Host stand-in: everything is laid out in dp, and scaled when it is drawn. */
public class DisplayMetrics {
    public float density = 1;
}
