package mnet.views;

import android.content.Context;
import android.graphics.drawable.Drawable;
import android.util.AttributeSet;
import android.view.View;
import android.view.ViewGroup;
import android.widget.HorizontalScrollView;
import android.widget.LinearLayout;
import android.widget.ScrollView;
import android.widget.TextView;
import java.util.List;
import org.w3c.dom.Element;
import org.w3c.dom.NamedNodeMap;

/**
 * Makes views of layout XML, and gives them their places, in dp, by the rules that the app's layouts use: linear layouts
 * with weights, gravity, margins and padding. What a layout uses beyond them is not there.
 */
public final class Layouts {
    private static final int ENDLESS = 100_000;

    private Layouts() {}

    /** The view of an element with all that is in it. */
    public static View inflate(Context context, Element element) {
        View view = create(context, element.getTagName());
        String style = element.getAttribute("style");
        if (!style.isEmpty()) view.attributes.putAll(Desk.values.style(style.substring("@style/".length())));
        NamedNodeMap given = element.getAttributes();
        for (int k = 0; k < given.getLength(); k++) {
            String name = given.item(k).getNodeName();
            if (name.startsWith("android:")) view.attributes.put(Values.plain(name), given.item(k).getNodeValue());
        }
        String id = view.attributes.get("id");
        if (id != null) view.attributes.put("id", "" + Desk.values.id(id.substring(id.indexOf('/') + 1)));
        String background = view.attributes.getOrDefault("background", "");
        if (background.startsWith("@drawable/")) {
            view.setBackground(new Drawable(Desk.values.document("drawable", background.substring("@drawable/".length()))));
        }
        if (view instanceof TextView text) text.setText(Desk.values.text(view.attributes.getOrDefault("text", "")));
        if (view instanceof ViewGroup group) {
            for (Element child : Values.children(element)) group.children.add(inflate(context, child));
        }
        return view;
    }

    /** Give `view` and all that is in it their sizes and places, within this much room. */
    public static void lay(View view, int roomWidth, int roomHeight) {
        int inWidth = fixed(view, "layout_width", roomWidth), inHeight = fixed(view, "layout_height", roomHeight);
        int across = padding(view, "Start") + padding(view, "End"), along = padding(view, "Top") + padding(view, "Bottom");
        int width = inWidth < 0 ? roomWidth : inWidth, height = inHeight < 0 ? roomHeight : inHeight;
        int[] content = content(view, width - across, height - along);
        view.width = inWidth < 0 ? content[0] + across : inWidth;
        view.height = inHeight < 0 ? content[1] + along : inHeight;
        if (view instanceof LinearLayout linear) place(linear);
        if (view instanceof ScrollView || view instanceof HorizontalScrollView) {
            for (View child : ((ViewGroup) view).children) {
                child.x = padding(view, "Start");
                child.y = padding(view, "Top");
            }
        }
    }

    static int padding(View view, String side) {
        return dp(view.attributes.getOrDefault("padding" + side, view.attributes.getOrDefault("padding", "0dp")));
    }

    static boolean isHorizontal(LinearLayout linear) {
        return !"vertical".equals(linear.attributes.get("orientation"));
    }

    static boolean hasDividers(LinearLayout linear) {
        return "middle".equals(linear.attributes.get("showDividers"));
    }

    static int dp(String length) {
        return Math.round(Float.parseFloat(length.replaceAll("[a-z]+$", "")));
    }

    private static View create(Context context, String tag) {
        String name = tag.contains(".") ? tag : tag.equals("View") ? "android.view.View" : "android.widget." + tag;
        try {
            var constructor = Class.forName(name).getConstructor(Context.class, AttributeSet.class);
            return (View) constructor.newInstance(context, null);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(tag, error);
        }
    }

    /** A length that does not depend on the content, or -1. */
    private static int fixed(View view, String name, int room) {
        return switch (view.attributes.getOrDefault(name, "wrap_content")) {
            case "wrap_content" -> -1;
            case "match_parent" -> room;
            case "0dp" -> weight(view) > 0 ? room : 0;
            default -> dp(view.attributes.get(name));
        };
    }

    /** Width and height of what is in a view, laid out in this much room. */
    private static int[] content(View view, int roomWidth, int roomHeight) {
        if (view instanceof TextView text) return Texts.size(text, roomWidth);
        if (view instanceof LinearLayout linear) return lines(linear, roomWidth, roomHeight);
        boolean down = view instanceof ScrollView, aside = view instanceof HorizontalScrollView;
        if (!down && !aside) return new int[] {0, 0};
        View child = ((ViewGroup) view).children.get(0);
        lay(child, aside ? ENDLESS : roomWidth, down ? ENDLESS : roomHeight);
        return new int[] {Math.min(child.width, roomWidth), Math.min(child.height, roomHeight)};
    }

    /** Lays out the children of a linear layout: those without a weight first, then the others in what is left. */
    private static int[] lines(LinearLayout linear, int roomWidth, int roomHeight) {
        boolean horizontal = isHorizontal(linear);
        List<View> children = shown(linear);
        int used = hasDividers(linear) ? Math.max(0, children.size() - 1) : 0, widest = 0;
        float weights = 0;
        for (View child : children) {
            float weight = weight(child);
            weights += weight;
            used += margins(child, horizontal);
            if (weight == 0) {
                int left = (horizontal ? roomWidth : roomHeight) - used;
                lay(child, horizontal ? left : roomWidth - margins(child, true), horizontal ? roomHeight : left);
                used += horizontal ? child.width : child.height;
            }
        }
        int left = (horizontal ? roomWidth : roomHeight) - used;
        for (View child : children) {
            if (weight(child) == 0) continue;
            int share = Math.round(left * weight(child) / weights);
            lay(child, horizontal ? share : roomWidth, horizontal ? roomHeight : share);
            used += share;
        }
        for (View child : children) {
            widest = Math.max(widest, (horizontal ? child.height : child.width) + margins(child, !horizontal));
        }
        return horizontal ? new int[] {used, widest} : new int[] {widest, used};
    }

    private static void place(LinearLayout linear) {
        boolean horizontal = isHorizontal(linear);
        boolean centred = linear.attributes.getOrDefault("gravity", "").contains("center");
        int at = padding(linear, horizontal ? "Start" : "Top");
        for (View child : shown(linear)) {
            int top = padding(linear, "Top"), room = linear.height - top - padding(linear, "Bottom");
            at += margin(child, horizontal ? "Start" : "Top");
            child.x = horizontal ? at : padding(linear, "Start") + margin(child, "Start");
            child.y = !horizontal ? at : top + (centred ? (room - child.height) / 2 : margin(child, "Top"));
            at += horizontal ? child.width + margin(child, "End") : child.height + margin(child, "Bottom");
            if (hasDividers(linear)) at++;
        }
    }

    static List<View> shown(ViewGroup group) {
        return group.children.stream().filter(child -> child.getVisibility() != View.GONE).toList();
    }

    private static float weight(View view) {
        return Float.parseFloat(view.attributes.getOrDefault("layout_weight", "0"));
    }

    private static int margins(View view, boolean horizontal) {
        return horizontal ? margin(view, "Start") + margin(view, "End") : margin(view, "Top") + margin(view, "Bottom");
    }

    private static int margin(View view, String side) {
        return dp(view.attributes.getOrDefault("layout_margin" + side, "0dp"));
    }
}
