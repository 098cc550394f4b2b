import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Asks for a payment, and asks again with the same id until its outcome is known.
 *
 * <p>java Publish.java INVOICE [ID]; an ID: that command again, after a crash for example.
 */
public class Publish {
    static final String PREFIX = System.getenv().getOrDefault("JENIUS_PREFIX", "jenius");
    static final double AGAIN_AFTER_SECONDS =
            Double.parseDouble(System.getenv().getOrDefault("AGAIN_AFTER_SECONDS", "30"));
    static final List<String> OUTCOMES = List.of(
            "payment.accepted", "payment.declined", "payment.unresolved", "payment.abandoned", "command.rejected");
    static final String SOURCE = "/checkout";

    static String command(String id, String invoice) {
        Map<String, Object> item = Map.of("name", "Ayam", "price", 50000, "quantity", 1);
        Map<String, Object> data = Map.of(
                "order", Map.of("invoice_number", invoice, "amount", "50000", "line_items", List.of(item)),
                "customer", Map.of("name", "Astari", "phone", "081288910205"),
                "redirect_url", "https://shop.example.com/thanks",
                "jenius_info", Map.of("cash_tag", "$admin"));
        return new Gson().toJson(Map.of("specversion", "1.0", "id", id, "source", SOURCE,
                "type", "jenius.payment.request.v1", "data", data));
    }

    public static void main(String[] args) throws Exception {
        String id = args.length > 1 ? args[1] : UUID.randomUUID().toString();
        byte[] command = command(id, args[0]).getBytes(StandardCharsets.UTF_8);
        // Your table of orders is where it belongs. It is there before anything is published.
        System.out.println("id " + id);

        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        JsonObject event = null;
        try (Connection connection = factory.newConnection()) {
            Channel channel = connection.createChannel();
            channel.confirmSelect();
            channel.addReturnListener(returned -> {
                System.err.println("no queue for " + returned.getExchange() + ": is jenius-pay running?");
                System.exit(1);
            });
            BlockingQueue<JsonObject> outcome = new ArrayBlockingQueue<>(1);
            hear(channel, id, outcome);
            AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
                    .contentType("application/cloudevents+json").deliveryMode(2).build();
            while (event == null) {
                channel.basicPublish(PREFIX + ".commands", "payment.request", true, properties, command);
                channel.waitForConfirmsOrDie(10_000);
                event = outcome.poll((long) (AGAIN_AFTER_SECONDS * 1000), TimeUnit.MILLISECONDS);
            }
        }
        System.out.println(event.get("type").getAsString() + " " + event.get("id").getAsString());
        JsonObject data = event.getAsJsonObject("data");
        if (data.has("errors")) {
            for (JsonElement element : data.getAsJsonArray("errors")) {
                JsonObject error = element.getAsJsonObject();
                System.out.println(error.get("field").getAsString() + ": " + error.get("code").getAsString()
                        + ": " + error.get("message").getAsString());
            }
        }
        System.exit(event.get("type").getAsString().equals("jenius.payment.accepted.v1") ? 0 : 1);
    }

    /** Puts the event that settles our command into {@code outcome}. */
    static void hear(Channel channel, String id, BlockingQueue<JsonObject> outcome) throws Exception {
        String queue = channel.queueDeclare().getQueue();
        for (String key : OUTCOMES) {
            channel.queueBind(queue, PREFIX + ".events", key);
        }
        channel.basicConsume(queue, true, (tag, message) -> {
            String body = new String(message.getBody(), StandardCharsets.UTF_8);
            JsonObject event = JsonParser.parseString(body).getAsJsonObject();
            JsonElement command = event.getAsJsonObject("data").get("command_id");
            JsonElement source = event.getAsJsonObject("data").get("command_source");
            if (!command.isJsonNull() && command.getAsString().equals(id) && source.getAsString().equals(SOURCE)) {
                outcome.offer(event);
            }
        }, tag -> {});
    }
}
