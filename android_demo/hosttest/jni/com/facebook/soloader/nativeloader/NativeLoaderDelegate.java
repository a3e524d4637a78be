package com.facebook.soloader.nativeloader;

/** Host stand-in; see NativeLoader. */
public interface NativeLoaderDelegate {}
