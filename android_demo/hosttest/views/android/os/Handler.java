package android.os;

/** Host stand-in; what is for later (the clock of a screen) never comes. */
public class Handler {
    private final Looper looper;

    public Handler(Looper looper) {
        this.looper = looper;
    }

    public final boolean post(Runnable task) {
        return looper.tasks.add(task);
    }

    public final boolean postDelayed(Runnable task, long millis) {
        return true;
    }

    public final void removeCallbacks(Runnable task) {}
}
