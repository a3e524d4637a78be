package android.widget;

import android.content.Context;
import android.text.Editable;
import android.util.AttributeSet;

/** Host stand-in. */
public class EditText extends TextView {
    public EditText(Context context, AttributeSet attributes) {
        super(context, attributes);
    }

    @Override
    public Editable getText() {
        return new Content(super.getText().toString());
    }

    private record Content(String text) implements Editable {
        @Override
        public int length() {
            return text.length();
        }

        @Override
        public char charAt(int index) {
            return text.charAt(index);
        }

        @Override
        public CharSequence subSequence(int start, int end) {
            return text.subSequence(start, end);
        }

        @Override
        public String toString() {
            return text;
        }
    }
}
