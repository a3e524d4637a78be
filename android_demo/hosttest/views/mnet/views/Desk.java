package mnet.views;

import java.io.File;

/** Where the app lies that runs on this machine. */
public final class Desk {
    public static File files;
    public static File assets;
    public static Values values;

    private Desk() {}

    /** `resources` is `res`; `ids` is the app's class `R`. */
    public static void put(File filesFolder, File assetsFolder, File resources, Class<?> ids, boolean night) {
        files = filesFolder;
        assets = assetsFolder;
        values = new Values(resources, ids, night);
    }
}
