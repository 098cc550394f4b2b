"""Handles the events of orders, each once.

python3 subscribe.py QUEUE KEY...     for example: subscribe.py bookkeeping 'order.*' command.rejected
"""
import json, os, sys
import pika

PREFIX = os.environ.get("JENIUS_PREFIX", "jenius")
queue, keys = sys.argv[1], sys.argv[2:]

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
for key in keys:
    channel.queue_bind(queue, PREFIX + ".events", key)
channel.basic_qos(prefetch_count=100)

# In a service: a table with a unique key, written in the transaction that handles the event.
seen = set()


def handle(event):
    data = event["data"]
    if event["type"] == "jenius.command.rejected.v1":
        for error in data["errors"]:
            print("rejected", data["invoice_number"], error["field"], error["code"], flush=True)
    elif event["type"] == "jenius.settlement.matched.v1":
        print("settled", data["type"], data["invoice_number"], data["net"], data["batch"], flush=True)
    else:
        print(event["type"], event["subject"], event["sequence"], data["state"], flush=True)


for method, properties, body in channel.consume(queue):
    event = json.loads(body)
    # A rejection or a settled row is no version of an order: its id is the same on every re-publication.
    version = (event["source"], event.get("subject"), event.get("sequence") or event["id"])
    if version not in seen:
        handle(event)
        seen.add(version)
    channel.basic_ack(method.delivery_tag)
