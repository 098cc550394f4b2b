import com.fasterxml.jackson.annotation.JsonAutoDetect;
import com.fasterxml.jackson.annotation.PropertyAccessor;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.util.Iterator;

/**
 * Reads each example with the class that was generated for it, and holds that the object says what the example says.
 *
 * <p>java Read.java DIR, where the files are NAME.json or NAME.N.json.
 */
public class Read {
    public static void main(String[] args) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        // Of a name such as X-PARTNER-ID the field has the name, and the getter another one.
        mapper.setVisibility(PropertyAccessor.GETTER, JsonAutoDetect.Visibility.NONE);
        int count = 0;
        for (File file : new File(args[0]).listFiles()) {
            Class<?> type = Class.forName("jenius." + file.getName().split("\\.")[0]);
            JsonNode example = mapper.readTree(file);
            JsonNode read = mapper.valueToTree(mapper.treeToValue(example, type));
            if (!withoutNull(read).equals(withoutNull(example))) {
                throw new AssertionError(file.getName() + "\n" + example + "\nis read as\n" + read);
            }
            count++;
        }
        System.out.println(count + " examples");
    }

    /** Jackson writes an absent member as null, where it may be null. */
    static JsonNode withoutNull(JsonNode node) {
        for (Iterator<JsonNode> members = node.elements(); members.hasNext(); ) {
            JsonNode member = members.next();
            if (member.isNull()) {
                members.remove();
            } else {
                withoutNull(member);
            }
        }
        return node;
    }
}
