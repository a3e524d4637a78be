package android.app;

import android.content.Context;
import android.os.Bundle;
import android.view.LayoutInflater;
import android.view.View;

/** Host stand-in: a screen whose life the test leads by {@link #open}, {@link #show} and {@link #hide}. */
public class Activity extends Context {
    private Application application;
    private View content;

    public void open(Application of) {
        application = of;
        onCreate(null);
        onStart();
    }

    public void show() {
        onStart();
    }

    public void hide() {
        onStop();
    }

    public View content() {
        return content;
    }

    public final Application getApplication() {
        return application;
    }

    public void setContentView(int layout) {
        content = getLayoutInflater().inflate(layout, null, false);
    }

    public View findViewById(int id) {
        return content.findViewById(id);
    }

    public LayoutInflater getLayoutInflater() {
        return new LayoutInflater(this);
    }

    public boolean isChangingConfigurations() {
        return false;
    }

    public void finish() {}

    protected void onCreate(Bundle state) {}

    protected void onStart() {}

    protected void onStop() {}
}
