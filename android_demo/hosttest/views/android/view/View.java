package android.view;

import android.content.Context;
import android.content.res.Resources;
import android.graphics.Canvas;
import android.graphics.drawable.Drawable;
import android.util.AttributeSet;
import java.util.HashMap;
import java.util.Map;

/** Host stand-in: what `mnet.views` lays out and draws. */
public class View {
    public static final int VISIBLE = 0;
    public static final int INVISIBLE = 4;
    public static final int GONE = 8;

    /** Of the layout's XML, its style included, without the prefix `android:`. */
    public final Map<String, String> attributes = new HashMap<>();

    /** Place in the parent, and size, in dp. */
    public int x, y, width, height;

    private final Context context;
    private Drawable background;
    private OnClickListener listener;
    private int visibility = VISIBLE;

    public interface OnClickListener {
        void onClick(View view);
    }

    public View(Context context, AttributeSet attributes) {
        this.context = context;
    }

    public final Context getContext() {
        return context;
    }

    public Resources getResources() {
        return context.getResources();
    }

    public final int getWidth() {
        return width;
    }

    public final int getHeight() {
        return height;
    }

    public Drawable getBackground() {
        return background;
    }

    public void setBackground(Drawable background) {
        this.background = background;
    }

    public int getVisibility() {
        return visibility;
    }

    public void setVisibility(int visibility) {
        this.visibility = visibility;
    }

    public void setOnClickListener(OnClickListener listener) {
        this.listener = listener;
    }

    public boolean performClick() {
        listener.onClick(this);
        return true;
    }

    public View findViewById(int id) {
        return String.valueOf(id).equals(attributes.get("id")) ? this : null;
    }

    public void setContentDescription(CharSequence description) {}

    public void invalidate() {}

    protected void onDraw(Canvas canvas) {}

    /** Draw what this view draws by itself. */
    public void drawOn(Canvas canvas) {
        onDraw(canvas);
    }
}
