package mnet.views;

import android.graphics.Canvas;
import android.graphics.drawable.Drawable;
import android.view.View;
import android.view.ViewGroup;
import android.widget.LinearLayout;
import android.widget.TextView;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.Shape;
import java.awt.geom.Ellipse2D;
import java.awt.geom.RoundRectangle2D;
import java.awt.image.BufferedImage;
import java.io.File;
import java.io.IOException;
import javax.imageio.ImageIO;
import org.w3c.dom.Element;

/** Draws a screen into a PNG, with a line above it that says what it is. */
public final class Drawing {
    private static final int WIDTH = 360, HEIGHT = 760, CAPTION = 26, SCALE = 2;
    private static final String WHAT = "Drawn on a desktop by the host tests, not a screenshot of a phone";

    private Drawing() {}

    /** Lay out `content` on a screen of 360 x 760 dp and write what it looks like to `file`. */
    public static void write(View content, File file) throws IOException {
        Layouts.lay(content, WIDTH, HEIGHT);
        BufferedImage image = new BufferedImage(WIDTH * SCALE, (HEIGHT + CAPTION) * SCALE, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = image.createGraphics();
        graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        graphics.setRenderingHint(RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
        graphics.scale(SCALE, SCALE);
        graphics.setColor(Color.WHITE);
        graphics.fillRect(0, 0, WIDTH, CAPTION);
        graphics.setColor(Color.DARK_GRAY);
        graphics.setFont(new Font(Font.SANS_SERIF, Font.ITALIC, 10));
        graphics.drawString(WHAT, 16, 17);
        graphics.translate(0, CAPTION);
        graphics.setColor(new Color(Desk.values.color("@color/page")));
        graphics.fillRect(0, 0, WIDTH, HEIGHT);
        draw(content, graphics);
        graphics.dispose();
        file.getParentFile().mkdirs();
        ImageIO.write(image, "png", file);
    }

    private static void draw(View view, Graphics2D outer) {
        if (view.getVisibility() != View.VISIBLE) return;
        Graphics2D graphics = (Graphics2D) outer.create();
        graphics.translate(view.x, view.y);
        graphics.clipRect(0, 0, view.width, view.height);
        if (view.getBackground() != null) background(view.getBackground(), view, graphics);
        if (view instanceof TextView text) Texts.draw(text, graphics);
        view.drawOn(new Canvas(graphics));
        if (view instanceof ViewGroup group) {
            for (View child : Layouts.shown(group)) {
                draw(child, graphics);
                if (group instanceof LinearLayout linear && Layouts.hasDividers(linear) && child.y > 0) {
                    graphics.setColor(new Color(Desk.values.color("@color/line")));
                    graphics.fillRect(0, child.y - 1, view.width, 1);
                }
            }
        }
        graphics.dispose();
    }

    /** A `shape`, or the one inside a `ripple`. */
    private static void background(Drawable drawable, View view, Graphics2D graphics) {
        Element shape = drawable.document;
        if (shape.getTagName().equals("ripple")) shape = (Element) shape.getElementsByTagName("shape").item(0);
        Shape outline = new Ellipse2D.Float(0, 0, view.width, view.height);
        if (!"oval".equals(shape.getAttribute("android:shape"))) {
            Element corners = part(shape, "corners");
            int radius = corners == null ? 0 : Layouts.dp(corners.getAttribute("android:radius"));
            outline = new RoundRectangle2D.Float(0.5f, 0.5f, view.width - 1, view.height - 1, 2 * radius, 2 * radius);
        }
        Element solid = part(shape, "solid"), stroke = part(shape, "stroke");
        int color = Desk.values.color(solid.getAttribute("android:color"));
        graphics.setColor(new Color(drawable.tint == null ? color : drawable.tint));
        graphics.fill(outline);
        if (stroke != null) {
            graphics.setColor(new Color(Desk.values.color(stroke.getAttribute("android:color"))));
            graphics.setStroke(new BasicStroke(Layouts.dp(stroke.getAttribute("android:width"))));
            graphics.draw(outline);
        }
    }

    private static Element part(Element shape, String name) {
        return (Element) shape.getElementsByTagName(name).item(0);
    }
}
