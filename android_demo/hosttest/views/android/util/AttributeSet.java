package android.util;

/** Host stand-in; attributes are those of {@link android.view.View#attributes}. */
public interface AttributeSet {}
