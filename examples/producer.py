"""Sends subscription events to Foreshard from a broker, or whatever knows of subscriptions, in Python.

    pip install -r examples/requirements.txt
    echo '{"action": "SUBSCRIBE", "topicFilter": "home/+/t", "clientId": "client-1"}' |
        python examples/producer.py --brokers localhost:9092 --registry http://localhost:8081/apis/ccompat/v7

Three things matter. The rest is any Kafka producer.

1. The value is Avro in Confluent's wire format: a zero byte, the schema's id in the registry, the record.
2. The key is the topic filter, in UTF-8.
3. The partition is that of Java's default partitioner. librdkafka has another default, so it must be set; a record in the
   wrong partition is refused and ends up in the topic `dead-letters`.
"""

import argparse
import io
import json
import struct
import sys
import time
import urllib.request

import fastavro
from confluent_kafka import Producer


def latest_schema(registry, subject):
    """The id and the schema that Foreshard has registered. Older ones are fine too: new fields have defaults."""
    with urllib.request.urlopen(f"{registry}/subjects/{subject}/versions/latest", timeout=10) as answer:
        found = json.load(answer)
    return found["id"], fastavro.parse_schema(json.loads(found["schema"]))


def encoded(schema_id, schema, record):
    to = io.BytesIO()
    to.write(struct.pack(">bI", 0, schema_id))
    fastavro.schemaless_writer(to, schema, record)
    return to.getvalue()


def main():
    options = argparse.ArgumentParser(description="Reads events from standard input, one JSON object a line.")
    options.add_argument("--brokers", required=True)
    options.add_argument("--registry", required=True, help="with its path, if it has one")
    options.add_argument("--prefix", default="foreshard.", help="FORESHARD_TOPIC_PREFIX")
    options.add_argument("--broker-id", default="python-broker")
    given = options.parse_args()

    topic = f"{given.prefix}subscriptions"
    schema_id, schema = latest_schema(given.registry, f"{topic}-value")
    producer = Producer(
        {
            "bootstrap.servers": given.brokers,
            "partitioner": "murmur2_random",  # As Java clients do.
            "enable.idempotence": True,  # In order and once, also when a batch has to be sent again.
        }
    )
    failures = []

    def delivered(error, message):
        if error is not None:
            failures.append(f"{message.key().decode()}: {error}")

    sent = 0
    for line in sys.stdin:
        event = json.loads(line)
        record = {
            "action": event["action"],  # SUBSCRIBE or UNSUBSCRIBE
            "topicFilter": event["topicFilter"],
            "clientId": event["clientId"],
            "brokerId": given.broker_id,
            "qos": event.get("qos", 0),
            "timestamp": event.get("timestamp", int(time.time() * 1000)),
            # What MQTT 5 lets a SUBSCRIBE say besides; all of it may be left out.
            "noLocal": event.get("noLocal", False),
            "retainAsPublished": event.get("retainAsPublished", False),
            "retainHandling": event.get("retainHandling", 0),
            "subscriptionIdentifier": event.get("subscriptionIdentifier", 0),
            # Grows with each connection of the client, for a broker that tells of its sessions.
            "sessionEpoch": event.get("sessionEpoch", 0),
        }
        producer.produce(
            topic,
            key=record["topicFilter"].encode(),
            value=encoded(schema_id, schema, record),
            on_delivery=delivered,
        )
        producer.poll(0)  # Hands over delivery reports.
        sent += 1
    producer.flush()
    if failures:
        sys.exit("\n".join(failures))
    print(f"{sent} events were sent.")


if __name__ == "__main__":
    main()
