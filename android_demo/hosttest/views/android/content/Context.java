package android.content;

import android.content.res.AssetManager;
import android.content.res.Resources;
import java.io.File;
import java.util.HashMap;
import java.util.Map;
import mnet.views.Desk;

/** Host stand-in: the files, assets, settings and resources of the app that lies on the {@link Desk}. */
public class Context {
    public static final int MODE_PRIVATE = 0;
    private static final Map<String, SharedPreferences> SETTINGS = new HashMap<>();

    public Context getApplicationContext() {
        return this;
    }

    public File getFilesDir() {
        return Desk.files;
    }

    public File getNoBackupFilesDir() {
        return new File(Desk.files, "no_backup");
    }

    public File getCacheDir() {
        return new File(Desk.files, "cache");
    }

    public AssetManager getAssets() {
        return new AssetManager();
    }

    public Resources getResources() {
        return new Resources();
    }

    public SharedPreferences getSharedPreferences(String name, int mode) {
        return SETTINGS.computeIfAbsent(name, key -> new SharedPreferences.InMemory());
    }

    public final String getString(int id) {
        return Desk.values.string(Desk.values.name(id));
    }

    public final String getString(int id, Object... arguments) {
        return String.format(getString(id), arguments);
    }

    public final int getColor(int id) {
        return Desk.values.color("@color/" + Desk.values.name(id));
    }

    public void startActivity(Intent intent) {}
}
