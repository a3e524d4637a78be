package android.os;

/** Host stand-in. */
public final class Bundle {}
