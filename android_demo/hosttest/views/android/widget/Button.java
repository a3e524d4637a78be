package android.widget;

import android.content.Context;
import android.util.AttributeSet;

/** Host stand-in. */
public class Button extends TextView {
    public Button(Context context, AttributeSet attributes) {
        super(context, attributes);
    }
}
