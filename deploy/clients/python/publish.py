"""Asks for a payment, and asks again with the same id until its outcome is known.

python3 publish.py INVOICE [ID]     an ID: that command again, after a crash for example
"""
import json, os, sys, time, uuid
import pika

PREFIX = os.environ.get("JENIUS_PREFIX", "jenius")
AGAIN_AFTER_SECONDS = float(os.environ.get("AGAIN_AFTER_SECONDS", "30"))
OUTCOMES = ["payment.accepted", "payment.declined", "payment.unresolved", "payment.abandoned", "command.rejected"]

invoice = sys.argv[1]
command = {
    "specversion": "1.0",
    "id": sys.argv[2] if len(sys.argv) > 2 else str(uuid.uuid4()),
    "source": "/checkout",
    "type": "jenius.payment.request.v1",
    "data": {
        "order": {
            "invoice_number": invoice,
            "amount": "50000",
            "line_items": [{"name": "Ayam", "price": 50000, "quantity": 1}],
        },
        "customer": {"name": "Astari", "phone": "081288910205"},
        "redirect_url": "https://shop.example.com/thanks",
        "jenius_info": {"cash_tag": "$admin"},
    },
}
# Your table of orders is where it belongs. It is there before anything is published.
print("id", command["id"], flush=True)

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
queue = channel.queue_declare("", exclusive=True).method.queue
for key in OUTCOMES:
    channel.queue_bind(queue, PREFIX + ".events", key)


def publish():
    """Returns when the broker has it, else raises."""
    properties = pika.BasicProperties(content_type="application/cloudevents+json", delivery_mode=2)
    body = json.dumps(command)
    channel.basic_publish(PREFIX + ".commands", "payment.request", body, properties, mandatory=True)


def outcome():
    """The event that settles our command, or None after a while."""
    until = time.monotonic() + AGAIN_AFTER_SECONDS
    for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=0.5):
        event = json.loads(body) if body else None
        if event and (event["data"]["command_source"], event["data"]["command_id"]) == (command["source"], command["id"]):
            return event
        if time.monotonic() > until:
            return None


event = None
while event is None:
    publish()
    event = outcome()
print(event["type"], event["id"], flush=True)
for error in event["data"].get("errors", []):
    print(error["field"], error["code"], error["message"], sep=": ")
sys.exit(event["type"] != "jenius.payment.accepted.v1")
