package com.facebook.soloader.nativeloader;

/** Host stand-in: whatever the Java API asks for, it gets the library that `-Dmnet.jni` names. */
public final class NativeLoader {
    private static boolean initialized;

    private NativeLoader() {}

    public static boolean isInitialized() {
        return initialized;
    }

    public static void init(NativeLoaderDelegate delegate) {
        initialized = true;
    }

    public static boolean loadLibrary(String name) {
        System.load(System.getProperty("mnet.jni"));
        return true;
    }
}
