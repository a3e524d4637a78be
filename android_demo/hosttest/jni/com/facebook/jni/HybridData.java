package com.facebook.jni;

/** Host stand-in for fbjni's: owns one native object of `module.cpp`. */
public final class HybridData {
    private long handle;

    private HybridData(long handle) {
        this.handle = handle;
    }

    public synchronized boolean isValid() {
        return handle != 0;
    }

    public synchronized void resetNative() {
        delete(handle);
        handle = 0;
    }

    private static native void delete(long handle);
}
