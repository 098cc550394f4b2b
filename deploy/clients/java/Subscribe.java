import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * Handles the events of orders, each once.
 *
 * <p>java Subscribe.java QUEUE KEY..., for example: Subscribe.java bookkeeping 'order.*' command.rejected
 */
public class Subscribe {
    static final String PREFIX = System.getenv().getOrDefault("JENIUS_PREFIX", "jenius");
    /** In a service: a table with a unique key, written in the transaction that handles the event. */
    static final Set<String> SEEN = new HashSet<>();

    public static void main(String[] args) throws Exception {
        String queue = args[0];
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        Channel channel = factory.newConnection().createChannel();
        channel.queueDeclare(queue, true, false, false, Map.of("x-queue-type", "quorum"));
        for (int i = 1; i < args.length; i++) {
            channel.queueBind(queue, PREFIX + ".events", args[i]);
        }
        channel.basicQos(100);
        channel.basicConsume(queue, false, (tag, message) -> {
            String body = new String(message.getBody(), StandardCharsets.UTF_8);
            JsonObject event = JsonParser.parseString(body).getAsJsonObject();
            // A rejection or a settled row is no version of an order: its id is the same on every re-publication.
            String version = text(event, "source") + " " + text(event, "subject") + " "
                    + text(event, event.has("sequence") ? "sequence" : "id");
            if (!SEEN.contains(version)) {
                handle(event);
                SEEN.add(version);
            }
            channel.basicAck(message.getEnvelope().getDeliveryTag(), false);
        }, tag -> {});
    }

    static void handle(JsonObject event) {
        JsonObject data = event.getAsJsonObject("data");
        if (text(event, "type").equals("jenius.settlement.matched.v1")) {
            System.out.println("settled " + text(data, "type") + " " + text(data, "invoice_number") + " "
                    + text(data, "net") + " " + text(data, "batch"));
            return;
        }
        if (!text(event, "type").equals("jenius.command.rejected.v1")) {
            System.out.println(text(event, "type") + " " + text(event, "subject") + " " + text(event, "sequence")
                    + " " + text(data, "state"));
            return;
        }
        for (JsonElement element : data.getAsJsonArray("errors")) {
            JsonObject error = element.getAsJsonObject();
            System.out.println("rejected " + text(data, "invoice_number") + " " + text(error, "field") + " "
                    + text(error, "code"));
        }
    }

    /** Empty where it is absent or null. */
    static String text(JsonObject object, String member) {
        JsonElement value = object.get(member);
        return value == null || value.isJsonNull() ? "" : value.getAsString();
    }
}
