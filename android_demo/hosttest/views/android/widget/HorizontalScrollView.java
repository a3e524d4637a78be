package android.widget;

import android.content.Context;
import android.util.AttributeSet;
import android.view.ViewGroup;

/** Host stand-in; laid out by `mnet.views.Layouts`. */
public class HorizontalScrollView extends ViewGroup {
    public HorizontalScrollView(Context context, AttributeSet attributes) {
        super(context, attributes);
    }
}
