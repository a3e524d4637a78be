package android.graphics.drawable;

import org.w3c.dom.Element;

/** Host stand-in: a `shape`, or a `ripple` around one. */
public class Drawable {
    public final Element document;

    /** Over the shape's own colour; null: not set. */
    public Integer tint;

    public Drawable(Element document) {
        this.document = document;
    }

    public Drawable mutate() {
        return this;
    }

    public void setTint(int color) {
        tint = color;
    }
}
