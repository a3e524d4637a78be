package android.content;

/** Host stand-in: which screen comes next is for the test to say. */
public class Intent {
    public Intent(Context context, Class<?> activity) {}
}
