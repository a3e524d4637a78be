package com.facebook.jni.annotations;

/** Host stand-in: marks what the Java API wants kept. */
public @interface DoNotStrip {}
