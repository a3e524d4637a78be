package android.view;

import android.content.Context;
import mnet.views.Desk;
import mnet.views.Layouts;

/** Host stand-in. */
public class LayoutInflater {
    private final Context context;

    public LayoutInflater(Context context) {
        this.context = context;
    }

    public View inflate(int layout, ViewGroup parent, boolean attach) {
        View view = Layouts.inflate(context, Desk.values.document("layout", Desk.values.name(layout)));
        if (attach) parent.children.add(view);
        return attach ? parent : view;
    }
}
