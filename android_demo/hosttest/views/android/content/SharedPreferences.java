package android.content;

import java.util.HashMap;
import java.util.Map;

/** Host stand-in. */
public interface SharedPreferences {
    String getString(String name, String otherwise);

    Editor edit();

    interface Editor {
        Editor putString(String name, String value);

        Editor remove(String name);

        void apply();
    }

    /** Forgotten at the end of the process. */
    final class InMemory implements SharedPreferences, Editor {
        private final Map<String, String> values = new HashMap<>();

        @Override
        public String getString(String name, String otherwise) {
            return values.getOrDefault(name, otherwise);
        }

        @Override
        public Editor edit() {
            return this;
        }

        @Override
        public Editor putString(String name, String value) {
            values.put(name, value);
            return this;
        }

        @Override
        public Editor remove(String name) {
            values.remove(name);
            return this;
        }

        @Override
        public void apply() {}
    }
}
