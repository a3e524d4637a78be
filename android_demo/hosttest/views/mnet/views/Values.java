package mnet.views;

import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.xml.sax.SAXException;

/** The app's resources, read from their XML. */
public final class Values {
    private final File resources;
    private final Map<Integer, String> names = new HashMap<>();
    private final Map<String, Integer> ids = new HashMap<>();
    private final Map<String, String> strings = new HashMap<>();
    private final Map<String, String> colors = new HashMap<>();
    private final Map<String, Map<String, String>> styles = new HashMap<>();

    Values(File resources, Class<?> ids, boolean night) {
        this.resources = resources;
        try {
            for (Class<?> kind : ids.getClasses()) {
                for (var field : kind.getFields()) {
                    names.put(field.getInt(null), field.getName());
                    if (kind.getSimpleName().equals("id")) this.ids.put(field.getName(), field.getInt(null));
                }
            }
        } catch (IllegalAccessException error) {
            throw new IllegalStateException(error);
        }
        for (String file : List.of("colors", "strings", "styles")) read("values", file);
        if (night) read("values-night", "colors");
    }

    /** The name of a resource. */
    public String name(int id) {
        return names.get(id);
    }

    public int id(String name) {
        return ids.get(name);
    }

    public String string(String name) {
        return strings.get(name);
    }

    /** What `@string/name`, or a text, says. */
    String text(String reference) {
        return reference.startsWith("@string/") ? string(reference.substring(8)) : reference;
    }

    /** ARGB of `@color/name` or `#RRGGBB`. */
    public int color(String reference) {
        String value = reference.startsWith("@color/") ? colors.get(reference.substring(7)) : reference;
        return 0xff000000 | Integer.parseInt(value.substring(1), 16);
    }

    Map<String, String> style(String name) {
        return styles.getOrDefault(name, Map.of());
    }

    /** The XML of a resource file. */
    public Element document(String folder, String name) {
        try {
            File file = new File(resources, folder + "/" + name + ".xml");
            return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file).getDocumentElement();
        } catch (IOException | SAXException | ParserConfigurationException error) {
            throw new IllegalStateException(folder + "/" + name, error);
        }
    }

    static List<Element> children(Element parent) {
        List<Element> elements = new ArrayList<>();
        for (Node node = parent.getFirstChild(); node != null; node = node.getNextSibling()) {
            if (node instanceof Element element) elements.add(element);
        }
        return elements;
    }

    private void read(String folder, String file) {
        for (Element entry : children(document(folder, file))) {
            String name = entry.getAttribute("name");
            switch (entry.getTagName()) {
                case "string" -> strings.put(name, entry.getTextContent().replace("\\'", "'"));
                case "color" -> colors.put(name, entry.getTextContent());
                case "style" -> {
                    Map<String, String> items = new HashMap<>();
                    for (Element item : children(entry)) items.put(plain(item.getAttribute("name")), item.getTextContent());
                    styles.put(name, items);
                }
                default -> {}
            }
        }
    }

    static String plain(String attribute) {
        return attribute.substring(attribute.indexOf(':') + 1);
    }
}
