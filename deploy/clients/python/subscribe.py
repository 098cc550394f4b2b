"""Handles the events of orders, each once.

usage: python3 subscribe.py QUEUE KEY...     for example: subscribe.py bookkeeping 'payment.*' 'order.*' command.rejected

Environment: AMQP_URL; JENIUS_PREFIX (jenius)
"""
import json, os, sys
try:
    import pika, pika.exceptions
except ImportError:
    sys.exit("error: pika is missing: pip install pika, or apt-get install python3-pika")

PREFIX = os.environ.get("JENIUS_PREFIX", "jenius")

# In a service: two tables, written in the transaction that handles the event.
handled = set()  # ids of events
versions = {}  # the last sequence of each order


def handle(event):
    """An event that was not handled before."""
    data = event["data"]
    if event["type"] == "jenius.settlement.matched.v1":
        print("settled", data["type"], data["invoice_number"], data["net"], data["batch"], flush=True)
        return
    if event["type"] == "jenius.command.rejected.v1":
        for error in data["errors"]:
            print("rejected", data["invoice_number"], error["field"], error["code"], flush=True)
        return
    order, sequence = (event["source"], event["subject"]), int(event["sequence"])
    # The service's database was restored: this event takes the place of the one with its sequence, and of all later ones.
    corrects = ["corrects"] if sequence <= versions.get(order, 0) else []
    versions[order] = sequence
    print(*corrects, event["type"], event["subject"], sequence, data["state"], flush=True)


def main(queue, keys):
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    for key in keys:
        channel.queue_bind(queue, PREFIX + ".events", key)
    channel.basic_qos(prefetch_count=100)
    for method, properties, body in channel.consume(queue):
        event = json.loads(body)
        # The same id may come again, and late: it is the same event.
        if event["id"] not in handled:
            handle(event)
            handled.add(event["id"])
        channel.basic_ack(method.delivery_tag)


if len(sys.argv) < 3 or "AMQP_URL" not in os.environ:
    print("usage: AMQP_URL=amqp://… python3 subscribe.py QUEUE KEY...", file=sys.stderr)
    sys.exit(2)
try:
    main(sys.argv[1], sys.argv[2:])
except KeyboardInterrupt:
    sys.exit(130)
except (pika.exceptions.AMQPError, OSError) as error:
    sys.exit(f"error: the broker: {error!r}")
