package com.facebook.soloader.nativeloader;

/** Host stand-in; see NativeLoader. */
public final class SystemDelegate implements NativeLoaderDelegate {}
