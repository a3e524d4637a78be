package android.os;

import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Host stand-in: the main thread is whoever calls {@link #runOne}. */
public final class Looper {
    private static final Looper MAIN = new Looper();
    final LinkedBlockingQueue<Runnable> tasks = new LinkedBlockingQueue<>();

    public static Looper getMainLooper() {
        return MAIN;
    }

    /** Wait for a task and run it; returns false where none came in time. */
    public static boolean runOne(long millis) throws InterruptedException {
        Runnable task = MAIN.tasks.poll(millis, TimeUnit.MILLISECONDS);
        if (task != null) task.run();
        return task != null;
    }
}
