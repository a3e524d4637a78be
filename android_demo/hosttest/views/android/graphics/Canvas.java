package android.graphics;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.geom.Line2D;
import java.awt.geom.Rectangle2D;

/** Host stand-in, on Java's own. */
public class Canvas {
    private final Graphics2D graphics;

    public Canvas(Graphics2D graphics) {
        this.graphics = graphics;
    }

    public void drawRect(float left, float top, float right, float bottom, Paint paint) {
        graphics.setColor(new Color(paint.color, true));
        graphics.fill(new Rectangle2D.Float(left, top, right - left, bottom - top));
    }

    public void drawLine(float fromX, float fromY, float toX, float toY, Paint paint) {
        graphics.setColor(new Color(paint.color, true));
        graphics.setStroke(new BasicStroke(paint.strokeWidth));
        graphics.draw(new Line2D.Float(fromX, fromY, toX, toY));
    }
}
