package mnet.views;

import android.widget.Button;
import android.widget.EditText;
import android.widget.TextView;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.font.FontRenderContext;
import java.util.ArrayList;
import java.util.List;

/** How wide texts are, and how they look. Java's own sans serif stands for Android's. */
final class Texts {
    private static final FontRenderContext CONTEXT = new FontRenderContext(null, true, true);
    private static final float LINE = 1.25f;

    private Texts() {}

    static int[] size(TextView view, int room) {
        int least = view.attributes.containsKey("maxWidth") ? Layouts.dp(view.attributes.get("maxWidth")) - 24 : room;
        List<String> lines = lines(view, Math.min(room, least));
        double widest = lines.stream().mapToDouble(line -> width(view, line)).max().orElse(0);
        int height = Math.round(lines.size() * font(view).getSize2D() * LINE);
        return new int[] {(int) Math.ceil(widest), view instanceof EditText ? height + 22 : height};
    }

    static void draw(TextView view, Graphics2D graphics) {
        int start = Layouts.padding(view, "Start"), room = view.width - start - Layouts.padding(view, "End");
        List<String> lines = lines(view, room);
        String gravity = view.attributes.getOrDefault("gravity", view instanceof Button ? "center" : "");
        float step = font(view).getSize2D() * LINE;
        float y = gravity.startsWith("center") ? (view.height - lines.size() * step) / 2 : 0;
        int indent = view instanceof EditText ? 4 : 0;
        if (view instanceof EditText) {
            graphics.setColor(new Color(Desk.values.color("@color/quiet")));
            graphics.drawLine(4, view.height - 6, view.width - 4, view.height - 6);
            y = 10;
        }
        graphics.setFont(font(view));
        graphics.setColor(new Color(color(view)));
        for (String line : lines) {
            double x = gravity.equals("center") ? (room - width(view, line)) / 2 : indent;
            graphics.drawString(line, (float) (start + x), y + step * 0.8f);
            y += step;
        }
    }

    private static int color(TextView view) {
        if (view.color != null) return view.color;
        String otherwise = shown(view).contentEquals(view.getText()) ? "@color/text" : "@color/quiet";
        return Desk.values.color(view.attributes.getOrDefault("textColor", otherwise));
    }

    private static Font font(TextView view) {
        float size = Layouts.dp(view.attributes.getOrDefault("textSize", view instanceof Button ? "14sp" : "16sp"));
        String family = view.attributes.getOrDefault("fontFamily", view instanceof Button ? "medium" : "");
        return new Font(Font.SANS_SERIF, family.endsWith("medium") ? Font.BOLD : Font.PLAIN, 1).deriveFont(size);
    }

    private static double width(TextView view, String line) {
        return font(view).getStringBounds(line, CONTEXT).getWidth();
    }

    /** The text, or the hint of an empty field; dots for a secret. */
    private static String shown(TextView view) {
        String text = view.getText().toString();
        if (text.isEmpty()) return Desk.values.text(view.attributes.getOrDefault("hint", ""));
        return "textPassword".equals(view.attributes.get("inputType")) ? "•".repeat(Math.min(text.length(), 24)) : text;
    }

    private static List<String> lines(TextView view, int room) {
        String text = shown(view);
        if ("1".equals(view.attributes.get("maxLines"))) {
            String cut = text;
            while (cut.length() > 1 && width(view, cut) > room) {
                text = text.substring(0, text.length() - 1);
                cut = text.stripTrailing() + "…";
            }
            return List.of(cut);
        }
        List<String> lines = new ArrayList<>();
        String line = "";
        for (String word : text.split(" ")) {
            String longer = line.isEmpty() ? word : line + " " + word;
            if (!line.isEmpty() && width(view, longer) > room) {
                lines.add(line);
                longer = word;
            }
            line = longer;
        }
        lines.add(line);
        return lines;
    }
}
