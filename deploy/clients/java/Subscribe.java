import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * Handles the events of orders, each once.
 *
 * <p>usage: java Subscribe.java QUEUE KEY..., for example: Subscribe.java bookkeeping 'payment.*' 'order.*' command.rejected
 *
 * <p>Environment: AMQP_URL; JENIUS_PREFIX (jenius).
 */
public class Subscribe {
    static final String PREFIX = System.getenv().getOrDefault("JENIUS_PREFIX", "jenius");
    // In a service: two tables, written in the transaction that handles the event.
    /** Ids of events. */
    static final Set<String> HANDLED = new HashSet<>();
    /** The last sequence of each order. */
    static final Map<String, Integer> VERSIONS = new HashMap<>();

    public static void main(String[] args) {
        if (args.length < 2 || System.getenv("AMQP_URL") == null) {
            System.err.println("usage: AMQP_URL=amqp://… java Subscribe.java QUEUE KEY...");
            System.exit(2);
        }
        try {
            subscribe(args);
        } catch (Exception error) {
            System.err.println("error: the broker: " + error);
            System.exit(1);
        }
    }

    static void subscribe(String[] args) throws Exception {
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
            // The same id may come again, and late: it is the same event.
            if (!HANDLED.contains(text(event, "id"))) {
                handle(event);
                HANDLED.add(text(event, "id"));
            }
            channel.basicAck(message.getEnvelope().getDeliveryTag(), false);
        }, tag -> {});
    }

    /** An event that was not handled before. */
    static void handle(JsonObject event) {
        JsonObject data = event.getAsJsonObject("data");
        if (text(event, "type").equals("jenius.settlement.matched.v1")) {
            System.out.println("settled " + text(data, "type") + " " + text(data, "invoice_number") + " "
                    + text(data, "net") + " " + text(data, "batch"));
            return;
        }
        if (text(event, "type").equals("jenius.command.rejected.v1")) {
            for (JsonElement element : data.getAsJsonArray("errors")) {
                JsonObject error = element.getAsJsonObject();
                System.out.println("rejected " + text(data, "invoice_number") + " " + text(error, "field") + " "
                        + text(error, "code"));
            }
            return;
        }
        String order = text(event, "source") + " " + text(event, "subject");
        int sequence = event.get("sequence").getAsInt();
        // The service's database was restored: this event takes the place of the one with its sequence, and of all later ones.
        String corrects = sequence <= VERSIONS.getOrDefault(order, 0) ? "corrects " : "";
        VERSIONS.put(order, sequence);
        System.out.println(corrects + text(event, "type") + " " + text(event, "subject") + " " + sequence + " "
                + text(data, "state"));
    }

    /** Empty where it is absent or null. */
    static String text(JsonObject object, String member) {
        JsonElement value = object.get(member);
        return value == null || value.isJsonNull() ? "" : value.getAsString();
    }
}
