"""Asks the table of examples/pointer_table_reader.py: questions and answers as JSON, for pointer-table-reader.test.ts."""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../examples"))
from pointer_table_reader import PointerTable, filter_hash, partition_of

asked = json.load(sys.stdin)
table = PointerTable(asked["partitions"])
for record in asked["records"]:
    if record == "end":
        table.reached_end()
    else:
        table.apply(record["key"], record["value"])
json.dump(
    {
        "epoch": table.epoch,
        "slices": sorted(table.slices),
        "shards": sorted(table.shards),
        "hashes": [[partition_of(text, asked["partitions"]), filter_hash(text)] for text in asked["texts"]],
        "resolved": [table.resolve(filter, client) for filter, client in asked["filters"]],
        "routes": [table.route(topic, turn) for topic, turn in asked["topics"]],
    },
    sys.stdout,
)
