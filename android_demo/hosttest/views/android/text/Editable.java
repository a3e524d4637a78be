package android.text;

/** Host stand-in. */
public interface Editable extends CharSequence {}
