package android.widget;

import android.content.Context;
import android.util.AttributeSet;
import android.view.View;

/** Host stand-in. */
public class TextView extends View {
    /** Over that of the attributes; null: not set. */
    public Integer color;

    private CharSequence text = "";

    public TextView(Context context, AttributeSet attributes) {
        super(context, attributes);
    }

    public CharSequence getText() {
        return text;
    }

    public final void setText(CharSequence text) {
        this.text = text;
    }

    public void setTextColor(int color) {
        this.color = color;
    }

    public void setError(CharSequence error) {}
}
