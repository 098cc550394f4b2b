"""Asks for a payment, and asks again with the same id until its outcome is known.

usage: python3 publish.py INVOICE [ID]     an ID: that command again, after a crash for example

Environment: AMQP_URL; JENIUS_PREFIX (jenius), AGAIN_AFTER_SECONDS (30), GIVE_UP_AFTER_SECONDS (1200)
Exit code: 0 accepted, 1 another outcome or none, 2 wrong usage
"""
import json, os, sys, time, uuid
try:
    import pika, pika.exceptions
except ImportError:
    sys.exit("error: pika is missing: pip install pika, or apt-get install python3-pika")

PREFIX = os.environ.get("JENIUS_PREFIX", "jenius")
AGAIN_AFTER_SECONDS = float(os.environ.get("AGAIN_AFTER_SECONDS", "30"))
# Longer than the service may take by its budget (retry.payment_max_elapsed_ms).
GIVE_UP_AFTER_SECONDS = float(os.environ.get("GIVE_UP_AFTER_SECONDS", "1200"))
OUTCOMES = ["payment.accepted", "payment.declined", "payment.unresolved", "payment.abandoned", "command.rejected"]


def command(invoice, id):
    return {
        "specversion": "1.0",
        "id": id,
        "source": "/checkout",
        "type": "jenius.payment.request.v1",
        # The payment's budget counts from here.
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
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


def connect():
    parameters = pika.URLParameters(os.environ["AMQP_URL"])
    parameters.blocked_connection_timeout = AGAIN_AFTER_SECONDS
    channel = pika.BlockingConnection(parameters).channel()
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    for key in OUTCOMES:
        channel.queue_bind(queue, PREFIX + ".events", key)
    return channel, queue, parameters.credentials.username


def publish(channel, user, command):
    """Returns when the broker has it, else raises."""
    # The broker lets no other user name this one: amqp.sources asks for it.
    properties = pika.BasicProperties(content_type="application/cloudevents+json", delivery_mode=2, user_id=user)
    body = json.dumps(command)
    channel.basic_publish(PREFIX + ".commands", "payment.request", body, properties, mandatory=True)


def outcome(channel, queue, command, until):
    """The event that settles our command, or None if none has come by then."""
    for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=0.2):
        event = json.loads(body) if body else None
        if event and (event["data"]["command_source"], event["data"]["command_id"]) == (command["source"], command["id"]):
            return event
        if time.monotonic() > until:
            return None


def main(invoice, id):
    wanted = command(invoice, id)
    # Your table of orders is where the id belongs. It is there before anything is published.
    print("id", id, flush=True)
    end = time.monotonic() + GIVE_UP_AFTER_SECONDS
    channel, queue, user = connect()
    event = None
    while event is None and time.monotonic() < end:
        publish(channel, user, wanted)
        event = outcome(channel, queue, wanted, min(end, time.monotonic() + AGAIN_AFTER_SECONDS))
    if event is None:
        sys.exit(f"error: no outcome within {GIVE_UP_AFTER_SECONDS:g} s; ask again later: publish.py {invoice} {id}")
    print(event["type"], event["id"], flush=True)
    for error in event["data"].get("errors", []):
        print(error["field"], error["code"], error["message"], sep=": ")
    sys.exit(event["type"] != "jenius.payment.accepted.v1")


if len(sys.argv) not in (2, 3) or "AMQP_URL" not in os.environ:
    print("usage: AMQP_URL=amqp://… python3 publish.py INVOICE [ID]", file=sys.stderr)
    sys.exit(2)
try:
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(uuid.uuid4()))
except pika.exceptions.UnroutableError:
    sys.exit(f"error: no queue takes commands of {PREFIX}.commands: is jenius-pay running?")
except (pika.exceptions.AMQPError, OSError) as error:
    sys.exit(f"error: the broker: {error!r}")
