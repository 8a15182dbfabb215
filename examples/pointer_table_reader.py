"""Reads Foreshard's pointer table from Kafka and tells on which shard a subscription is, and which shards a PUBLISH asks.

    pip install -r examples/requirements.txt
    python examples/pointer_table_reader.py --brokers localhost:9092 --partitions 8 \\
        --registry http://localhost:8081/apis/ccompat/v7 home/kitchen/t 'home/+/t'

`PointerTable` below is what a broker in another language needs: it is plain Python, without Kafka. A broker keeps reading,
asks shards with the table's epoch, and sends BrokerHeartbeat metrics with the offset that it will read next, so that a move
ends only when every broker knows of it. See state/pointer-table.ts for what the TypeScript reader refuses beside this:
records that no planner can have written.

Slices, the keys of the table behind `p:` (state/keys.ts):

    c/<partition>/<bits>      concrete filters whose second hash begins with these bits
    t/<filter>                one concrete filter on its own
    s/<i>of<n>/<filter>       one part of a filter that is spread over n slices, by client
    w/<partition>/<levels/>   filters with wildcards, by the literal levels that they begin with
"""

import argparse
import io
import json
import struct
import sys
import urllib.request

ROOT_KEY = "#"  # Stands for the first level of filters that begin with a wildcard.
M32 = 0xFFFFFFFF


def murmur2(data):
    """As Kafka's Java clients hash keys."""
    m = 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = k * m & M32
        k = (k ^ k >> 24) * m & M32
        h = (h * m & M32) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & M32
    h = (h ^ h >> 13) * m & M32
    return h ^ h >> 15


def partition_of(key, partitions):
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def filter_hash(text):
    """FNV-1a over UTF-16 code units, with murmur3's finaliser: 32 bits."""
    h = 0x811C9DC5
    for (unit,) in struct.iter_unpack("<H", text.encode("utf-16-le", "surrogatepass")):
        h = (h ^ unit) * 0x01000193 & M32
    h = (h ^ h >> 16) * 0x85EBCA6B & M32
    h = (h ^ h >> 13) * 0xC2B2AE35 & M32
    return h ^ h >> 16


def trie_prefix(filter):
    """None for a concrete filter; else the literal levels before its first wildcard, each with its '/'."""
    shared = filter.startswith("$share/")
    inner = filter.split("/", 2)[2] if shared else filter
    wildcards = [at for at in (inner.find("+"), inner.find("#")) if at >= 0]
    if wildcards:
        return inner[: min(wildcards)]
    # A shared filter is kept with the wildcards: a PUBLISH could not find it by the hash of its own name.
    return inner[: inner.rfind("/") + 1] if shared else None


class PointerTable:
    """Call `apply` for each record in order, and `reached_end` whenever everything that there is has been read."""

    def __init__(self, partitions):
        self.partitions = partitions
        self.epoch = 0  # Of the last change; goes with every question to a shard.
        self.slices = {}  # Slice -> its PointerEntry.
        self.shards = {}  # Shard id -> its ShardEntry, with the address.
        self._spread = {}  # Filter -> over how many slices it is spread.
        self._pending = {}  # What was read and is not applied yet; None for a removed key.
        self._change = None  # The newest change: epoch, count of its records, those seen.
        self._term = 0
        self._holding = True  # Until the end of the topic.

    def apply(self, key, record):
        """A record is {"change": ..., "body": ...}; None removes its key."""
        if record is None:
            if key in self._pending or key[2:] in (self.slices if key.startswith("p:") else self.shards):
                self._pending[key] = None
            return
        change, body = record["change"], record["body"]
        epoch, term = change["epoch"], change.get("term", 0)
        newest = self.epoch if self._change is None else self._change["epoch"]
        is_taken_over = term > self._term  # Another planner goes on, perhaps below what the one before it had begun.
        if term < self._term or (epoch <= newest and not is_taken_over and (self._change is None or epoch < newest)):
            return  # An old word: repeated or from a planner that is no more.
        if self._change is None or epoch != newest or is_taken_over:
            # A change is applied whole. Where some are missing (this is the first load, or they were lost to compaction),
            # records that count may come later: then everything is held back until the end of the topic.
            if not self._is_whole() or epoch != newest + 1:
                self._holding = True
            self._pending = {k: b for k, b in self._pending.items() if b is None or b["epoch"] < epoch}
            self._change = {"epoch": epoch, "count": change["count"], "seen": set()}
        self._term = term
        self._change["seen"].add(change["index"])
        self._pending[key] = body
        if not self._holding and self._is_whole():
            self._commit()

    def reached_end(self):
        """A change is written in one transaction, so at the end of the topic none is half there."""
        self._commit()
        self._holding = False

    def resolve(self, filter, client_id):
        """The PointerEntry of this client's subscription of this filter, or None when the table does not know."""
        prefix = trie_prefix(filter)
        if prefix is None:
            return self.slices.get(self._concrete_slice(filter, client_id))
        partition = partition_of(prefix.split("/")[0] if prefix else ROOT_KEY, self.partitions)
        while prefix:  # The longest literal prefix that has a slice of its own.
            found = self.slices.get(f"w/{partition}/{prefix}")
            if found is not None:
                return found
            prefix = prefix[: prefix.rfind("/", 0, len(prefix) - 1) + 1]
        return self.slices.get(f"w/{partition}/")

    def route(self, topic, turn=0):
        """Shard id -> the slices to ask it for; together they hold every subscription that matches a PUBLISH to the topic."""
        stops = {}
        found = [self.slices[slice] for slice in self._slices_for_topic(topic) if slice in self.slices]
        for entry in found:
            if entry["mode"] != "REPLICAS":
                for shard in entry["shards"]:
                    stops.setdefault(shard, []).append(entry["slice"])
        for entry in found:  # Of replicas any one: the one that is asked anyway, else each in turn.
            if entry["mode"] == "REPLICAS":
                shards = entry["shards"]
                shard = next((each for each in shards if each in stops), shards[turn % len(shards)])
                stops.setdefault(shard, []).append(entry["slice"])
        return stops

    def _is_whole(self):
        return self._change is None or len(self._change["seen"]) == self._change["count"]

    def _commit(self):
        for key, body in self._pending.items():
            table = self.slices if key.startswith("p:") else self.shards
            if body is None or body.get("mode", body.get("state")) == "GONE":
                table.pop(key[2:], None)
            else:
                table[key[2:]] = body
        if self._change is not None:
            self.epoch = self._change["epoch"]
        parts = (slice.split("/", 2) for slice in self.slices if slice.startswith("s/"))
        self._spread = {filter: int(part.split("of")[1]) for _, part, filter in parts}
        self._pending = {}
        self._change = None

    def _concrete_slice(self, filter, client_id):
        """The most specific slice: a part of a spread filter, the filter's own, the longest hash prefix."""
        if filter in self._spread:
            count = self._spread[filter]
            return f"s/{filter_hash(client_id) % count}of{count}/{filter}"
        if f"t/{filter}" in self.slices:
            return f"t/{filter}"
        partition = partition_of(filter, self.partitions)
        bits = f"{filter_hash(filter):032b}"
        return next((s for n in range(32, -1, -1) if (s := f"c/{partition}/{bits[:n]}") in self.slices), None)

    def _slices_for_topic(self, topic):
        if topic in self._spread:
            count = self._spread[topic]
            yield from (f"s/{part}of{count}/{topic}" for part in range(count))
        else:
            yield self._concrete_slice(topic, "")
        root = f"w/{partition_of(ROOT_KEY, self.partitions)}/"
        yield root
        levels = topic.split("/")
        group = f"w/{partition_of(levels[0], self.partitions)}/"
        if group != root:
            yield group
        for level in levels:  # a/b/# matches a/b, so the whole topic counts too.
            group += f"{level}/"
            yield group


def read_table(table, brokers, registry, prefix):
    """Reads the topic to its end. To follow it, go on polling."""
    # Here and not above: the table itself needs neither.
    import fastavro
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    schemas = {}

    def decoded(value):
        (schema_id,) = struct.unpack_from(">I", value, 1)
        if schema_id not in schemas:
            with urllib.request.urlopen(f"{registry}/schemas/ids/{schema_id}", timeout=10) as answer:
                schemas[schema_id] = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), schemas[schema_id], None)

    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "pointer-table-reader",  # Asked for by the client, and not used: every broker reads all of it.
            "enable.auto.commit": False,
            "isolation.level": "read_committed",  # Changes are written in transactions.
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(f"{prefix}pointer-table", 0, 0)])
    try:
        while True:
            message = consumer.poll(10)
            if message is None:
                continue
            if message.error() is None:
                value = message.value()
                table.apply(message.key().decode(), None if value is None else decoded(value))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                table.reached_end()
                return
            elif not message.error().retriable():
                sys.exit(str(message.error()))
    finally:
        consumer.close()


def main():
    options = argparse.ArgumentParser(description="Prints one JSON object for each filter or topic.")
    options.add_argument("--brokers", required=True)
    options.add_argument("--registry", required=True, help="with its path, if it has one")
    options.add_argument("--partitions", type=int, required=True, help="FORESHARD_PARTITIONS")
    options.add_argument("--prefix", default="foreshard.", help="FORESHARD_TOPIC_PREFIX")
    options.add_argument("--client", default="client-1")
    options.add_argument("filters", nargs="*", help="by default one a line from standard input")
    given = options.parse_args()
    table = PointerTable(given.partitions)
    read_table(table, given.brokers, given.registry, given.prefix)
    for filter in given.filters or (line.rstrip("\n") for line in sys.stdin):
        entry = table.resolve(filter, given.client)
        print(json.dumps({"filter": filter, "epoch": table.epoch, "pointer": entry}))


if __name__ == "__main__":
    main()
