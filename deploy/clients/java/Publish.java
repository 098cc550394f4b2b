import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Asks for a payment, and asks again with the same id until its outcome is known.
 *
 * <p>usage: java Publish.java INVOICE [ID]; an ID: that command again, after a crash for example.
 *
 * <p>Environment: AMQP_URL; JENIUS_PREFIX (jenius), AGAIN_AFTER_SECONDS (30), GIVE_UP_AFTER_SECONDS (1200).
 * Exit code: 0 accepted, 1 another outcome or none, 2 wrong usage.
 */
public class Publish {
    static final String PREFIX = System.getenv().getOrDefault("JENIUS_PREFIX", "jenius");
    static final double AGAIN_AFTER_SECONDS = seconds("AGAIN_AFTER_SECONDS", "30");
    /** Longer than the service may take by its budget (retry.payment_max_elapsed_ms). */
    static final double GIVE_UP_AFTER_SECONDS = seconds("GIVE_UP_AFTER_SECONDS", "1200");
    static final List<String> OUTCOMES = List.of(
            "payment.accepted", "payment.declined", "payment.unresolved", "payment.abandoned", "command.rejected");
    static final String SOURCE = "/checkout";

    static double seconds(String name, String otherwise) {
        return Double.parseDouble(System.getenv().getOrDefault(name, otherwise));
    }

    static void fail(int code, String message) {
        System.err.println(message);
        System.exit(code);
    }

    static String command(String id, String invoice) {
        Map<String, Object> item = Map.of("name", "Ayam", "price", 50000, "quantity", 1);
        Map<String, Object> data = Map.of(
                "order", Map.of("invoice_number", invoice, "amount", "50000", "line_items", List.of(item)),
                "customer", Map.of("name", "Astari", "phone", "081288910205"),
                "redirect_url", "https://shop.example.com/thanks",
                "jenius_info", Map.of("cash_tag", "$admin"));
        // The payment's budget counts from its time.
        return new Gson().toJson(Map.of("specversion", "1.0", "id", id, "source", SOURCE,
                "type", "jenius.payment.request.v1", "time", Instant.now().toString(), "data", data));
    }

    public static void main(String[] args) {
        if (args.length < 1 || args.length > 2 || System.getenv("AMQP_URL") == null) {
            fail(2, "usage: AMQP_URL=amqp://… java Publish.java INVOICE [ID]");
        }
        String id = args.length > 1 ? args[1] : UUID.randomUUID().toString();
        // Your table of orders is where the id belongs. It is there before anything is published.
        System.out.println("id " + id);
        try {
            tell(ask(args[0], id));
        } catch (Exception error) {
            fail(1, "error: the broker: " + error);
        }
    }

    /** Publishes the command until its outcome is known. */
    static JsonObject ask(String invoice, String id) throws Exception {
        byte[] command = command(id, invoice).getBytes(StandardCharsets.UTF_8);
        long end = System.nanoTime() + (long) (GIVE_UP_AFTER_SECONDS * 1e9);
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        try (Connection connection = factory.newConnection()) {
            Channel channel = connection.createChannel();
            channel.confirmSelect();
            channel.addReturnListener(returned -> fail(1,
                    "error: no queue takes commands of " + returned.getExchange() + ": is jenius-pay running?"));
            BlockingQueue<JsonObject> outcome = new ArrayBlockingQueue<>(1);
            hear(channel, id, outcome);
            // The broker lets no other user name this one: amqp.sources asks for it.
            AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().userId(factory.getUsername())
                    .contentType("application/cloudevents+json").deliveryMode(2).build();
            while (System.nanoTime() < end) {
                channel.basicPublish(PREFIX + ".commands", "payment.request", true, properties, command);
                channel.waitForConfirmsOrDie(10_000);
                long wait = Math.min((long) (AGAIN_AFTER_SECONDS * 1e9), end - System.nanoTime());
                JsonObject event = outcome.poll(wait, TimeUnit.NANOSECONDS);
                if (event != null) {
                    return event;
                }
            }
        }
        fail(1, "error: no outcome within " + GIVE_UP_AFTER_SECONDS + " s; ask again later: Publish.java " + invoice
                + " " + id);
        return null;
    }

    static void tell(JsonObject event) {
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
