package android.graphics;

/** Host stand-in. */
public class Paint {
    public static final int ANTI_ALIAS_FLAG = 1;
    int color;
    float strokeWidth = 1;

    public Paint(int flags) {}

    public void setColor(int color) {
        this.color = color;
    }

    public void setStrokeWidth(float width) {
        strokeWidth = width;
    }
}
