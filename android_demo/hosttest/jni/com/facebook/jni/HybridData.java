package com.facebook.jni;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicInteger;

/** Host stand-in for fbjni's: owns one native object of `module.cpp`, and frees it when nobody refers to this any more. */
public final class HybridData {
    private static final Cleaner CLEANER = Cleaner.create();
    private static final AtomicInteger ALIVE = new AtomicInteger();

    private final long handle;
    private final Cleaner.Cleanable cleanable;
    private volatile boolean valid = true;

    private HybridData(long handle) {
        this.handle = handle;
        ALIVE.incrementAndGet();
        cleanable = CLEANER.register(this, () -> {
            ALIVE.decrementAndGet();
            delete(handle);
        });
    }

    /** How many native objects there are. */
    public static int alive() {
        return ALIVE.get();
    }

    public boolean isValid() {
        return valid;
    }

    public void resetNative() {
        valid = false;
        cleanable.clean();
    }

    private static native void delete(long handle);
}
