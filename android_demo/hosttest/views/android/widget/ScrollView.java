package android.widget;

import android.content.Context;
import android.util.AttributeSet;
import android.view.ViewGroup;

/** Host stand-in; laid out by `mnet.views.Layouts`. */
public class ScrollView extends ViewGroup {
    public ScrollView(Context context, AttributeSet attributes) {
        super(context, attributes);
    }
}
