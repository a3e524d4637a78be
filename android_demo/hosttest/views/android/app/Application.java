package android.app;

import android.content.Context;

/** Host stand-in. */
public class Application extends Context {
    public void onCreate() {}
}
