package android.content.res;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import mnet.views.Desk;

/** Host stand-in: the folder `assets`. */
public final class AssetManager {
    public String[] list(String path) {
        String[] names = new File(Desk.assets, path).list();
        return names == null ? new String[0] : names;
    }

    public InputStream open(String path) throws IOException {
        return new FileInputStream(new File(Desk.assets, path));
    }
}
