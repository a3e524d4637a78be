package android.view;

import android.content.Context;
import android.util.AttributeSet;
import java.util.ArrayList;
import java.util.List;

/** Host stand-in. */
public class ViewGroup extends View {
    public final List<View> children = new ArrayList<>();

    public ViewGroup(Context context, AttributeSet attributes) {
        super(context, attributes);
    }

    public int getChildCount() {
        return children.size();
    }

    public View getChildAt(int index) {
        return children.get(index);
    }

    public void removeViewAt(int index) {
        children.remove(index);
    }

    @Override
    public View findViewById(int id) {
        View found = super.findViewById(id);
        for (View child : children) {
            if (found == null) found = child.findViewById(id);
        }
        return found;
    }
}
