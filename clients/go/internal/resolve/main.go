// Resolve answers questions about a pointer table, as JSON on standard input and output, so that another implementation
// of the table can be compared with this one.
package main

import (
	"encoding/json"
	"log"
	"os"
	"slices"

	"foreshard.dev/client/keys"
	"foreshard.dev/client/pointers"
)

type question struct {
	Partitions int
	Records    []json.RawMessage
	Filters    [][2]string
	Topics     []json.RawMessage
	Texts      []string
}

type record struct {
	Key    string
	Offset int64
	Value  *struct {
		Change pointers.Change
		Body   json.RawMessage
	}
}

type answer struct {
	Epoch    int64                 `json:"epoch"`
	Position int64                 `json:"position"`
	Refused  int64                 `json:"refused"`
	Slices   []string              `json:"slices"`
	Shards   []string              `json:"shards"`
	Hashes   [][2]uint32           `json:"hashes"`
	Resolved []*pointers.Pointer   `json:"resolved"`
	Routes   []map[string][]string `json:"routes"`
}

func main() {
	var asked question
	must(json.NewDecoder(os.Stdin).Decode(&asked))
	table := pointers.NewTable(asked.Partitions)
	next := int64(0)
	for _, raw := range asked.Records {
		if string(raw) == `"end"` {
			table.Reached(next, true)
			continue
		}
		var read record
		must(json.Unmarshal(raw, &read))
		next = read.Offset + 1
		table.Apply(read.Key, entry(read), read.Offset)
	}
	answered := answer{Epoch: table.Epoch(), Position: table.Position(), Refused: table.Refused(), Slices: []string{}, Shards: []string{}}
	for _, pointer := range table.Pointers() {
		answered.Slices = append(answered.Slices, pointer.Slice)
	}
	for _, shard := range table.Shards() {
		answered.Shards = append(answered.Shards, shard.ID)
	}
	slices.Sort(answered.Slices)
	slices.Sort(answered.Shards)
	for _, text := range asked.Texts {
		partition := uint32(keys.PartitionOf(text, asked.Partitions))
		answered.Hashes = append(answered.Hashes, [2]uint32{partition, keys.FilterHash(text)})
	}
	for _, each := range asked.Filters {
		if pointer, found := table.Resolve(each[0], each[1]); found {
			answered.Resolved = append(answered.Resolved, &pointer)
		} else {
			answered.Resolved = append(answered.Resolved, nil)
		}
	}
	for _, raw := range asked.Topics {
		var topic string
		var turn uint64
		must(json.Unmarshal(raw, &[2]any{&topic, &turn}))
		stops := map[string][]string{}
		for _, stop := range table.Route(topic, turn) {
			stops[stop.Shard] = stop.Slices
		}
		answered.Routes = append(answered.Routes, stops)
	}
	must(json.NewEncoder(os.Stdout).Encode(answered))
}

// entry is the record of a key; nil for one that is removed.
func entry(read record) *pointers.Record {
	if read.Value == nil {
		return nil
	}
	found := &pointers.Record{Change: read.Value.Change}
	if read.Key[0] == 'p' {
		found.Pointer = &pointers.Pointer{}
		must(json.Unmarshal(read.Value.Body, found.Pointer))
	} else {
		found.Shard = &pointers.Shard{}
		must(json.Unmarshal(read.Value.Body, found.Shard))
	}
	return found
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
