package foreshard

import (
	"errors"
	"os"
	"reflect"
	"testing"

	"github.com/twmb/avro"

	"foreshard.dev/client/internal/records"
	"foreshard.dev/client/internal/registrytest"
	"foreshard.dev/client/pointers"
)

func TestRecordsOfThePointerTopic(t *testing.T) {
	text, err := os.ReadFile("../../schemas/pointer-record.avsc")
	if err != nil {
		t.Fatal(err)
	}
	schema := avro.MustParse(string(text))
	registry, err := records.Open(registrytest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	change := map[string]any{"epoch": 5, "index": 1, "count": 2, "term": 3, "planner": "p"}
	for _, given := range []struct {
		body   map[string]any
		record pointers.Record
	}{
		{
			body: map[string]any{"psm.PointerEntry": map[string]any{
				"slice": "w/0/", "mode": "REPLICAS", "shards": []string{"s1", "s2"}, "epoch": 5,
			}},
			record: pointers.Record{Pointer: &pointers.Pointer{
				Slice: "w/0/", Mode: pointers.Replicas, Shards: []string{"s1", "s2"}, Epoch: 5,
			}},
		},
		{
			body: map[string]any{"psm.ShardEntry": map[string]any{
				"shardId": "s1", "storeKind": "TRIE", "datastoreType": "t", "instanceId": "i", "address": "http://a:1",
				"state": "DRAINING", "epoch": 5, "loss": "LOST",
			}},
			record: pointers.Record{Shard: &pointers.Shard{
				ID: "s1", Instance: "i", Address: "http://a:1", State: "DRAINING", Loss: "LOST", Epoch: 5,
			}},
		},
	} {
		given.record.Change = pointers.Change{Epoch: 5, Index: 1, Count: 2, Term: 3, Planner: "p"}
		value, err := schema.Encode(map[string]any{"change": change, "body": given.body})
		if err != nil {
			t.Fatal(err)
		}
		read, err := registry.Decode(t.Context(), append([]byte{0, 0, 0, 0, 4}, value...))
		if err != nil {
			t.Fatal(err)
		}
		record, err := entryOf(read)
		if err != nil || !reflect.DeepEqual(*record, given.record) {
			t.Errorf("%+v, %v", record, err)
		}
	}
	for what, value := range map[string][]byte{
		"nothing":           {},
		"no header":         []byte("{\"a\":1}"),
		"an unknown schema": {0, 0, 0, 0, 99, 1},
		"half a record":     {0, 0, 0, 0, 4, 10},
		"another topic's":   {0, 0, 0, 0, 1, 10},
	} {
		if _, err := registry.Decode(t.Context(), value); !errors.Is(err, records.ErrUndecodable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
