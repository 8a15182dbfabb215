package foreshard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"foreshard.dev/client/internal/records"
	"foreshard.dev/client/pointers"
)

// Reader follows the pointer topic. A record that cannot be read is counted and skipped. While Kafka or the registry is
// away the table stays as it is. When the topic is created anew, a new table is read beside the one in use, and replaces
// it when it is complete.
type Reader struct {
	topic      string
	partitions int
	kafka      []kgo.Opt
	registry   *records.Registry
	table      atomic.Pointer[pointers.Table]
	ignored    atomic.Int64
	ready      chan struct{}
	done       chan struct{}

	mu      sync.Mutex
	changed chan struct{} // Closed at the next change of the table.
	err     error
}

const retryPause = 200 * time.Millisecond

// read follows the topic until the context ends.
func read(ctx context.Context, topic string, partitions int, kafka []kgo.Opt, registry *records.Registry) *Reader {
	r := &Reader{
		topic:      topic,
		partitions: partitions,
		kafka:      kafka,
		registry:   registry,
		ready:      make(chan struct{}),
		done:       make(chan struct{}),
		changed:    make(chan struct{}),
	}
	r.table.Store(pointers.NewTable(partitions))
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			r.follow(ctx)
			_ = records.Sleep(ctx, retryPause)
		}
	}()
	return r
}

// Table is the newest table.
func (r *Reader) Table() *pointers.Table { return r.table.Load() }

// Ignored counts the records that were refused or could not be read.
func (r *Reader) Ignored() int64 { return r.ignored.Load() + r.Table().Refused() }

// Ready is closed when everything that was in the topic at the start is in the table.
func (r *Reader) Ready() <-chan struct{} { return r.ready }

// Newer waits until the table is newer than the epoch or the context ends, and says whether it is.
func (r *Reader) Newer(ctx context.Context, epoch int64) bool {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if r.Table().Epoch() > epoch {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return r.Table().Epoch() > epoch
		}
	}
}

// follow reads the topic of this name, from its beginning, for as long as it is the same topic.
func (r *Reader) follow(ctx context.Context) {
	client, err := kgo.NewClient(slices.Concat(r.kafka, []kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // Changes are written in transactions.
		kgo.KeepControlRecords(),       // The last record of a transaction: without it the end is never seen.
		kgo.KeepRetryableFetchErrors(), // One of them says that the topic was created anew.
		kgo.FetchMaxWait(500 * time.Millisecond),
	})...)
	if err != nil {
		r.fail(err)
		return
	}
	defer client.Close()
	first, end, err := offsetsOf(ctx, client, r.topic)
	if err != nil {
		r.fail(err)
		return
	}
	table, next, isComplete := pointers.NewTable(r.partitions), int64(0), false
	reached := func(at int64) {
		before := table.Epoch()
		table.Reached(at, true)
		if !isComplete && at >= end {
			isComplete = true
			r.adopt(table)
		} else if isComplete && table.Epoch() != before {
			r.tell()
		}
	}
	if first >= end {
		reached(end)
	}
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		for _, failed := range fetches.Errors() {
			r.fail(failed.Err)
			// The topic is another one of the same name.
			if errors.Is(failed.Err, kerr.UnknownTopicID) || errors.Is(failed.Err, kerr.UnknownTopicOrPartition) {
				return
			}
		}
		isSame := true
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, record := range p.Records {
				if record.Offset < next {
					isSame = false
					return
				}
				next = record.Offset + 1
				before := table.Epoch()
				r.take(ctx, table, record)
				if isComplete && table.Epoch() != before {
					r.tell()
				}
			}
			if len(p.Records) > 0 && p.LastStableOffset >= 0 && next >= p.LastStableOffset {
				reached(next)
			}
		})
		if !isSame {
			return
		}
	}
}

func (r *Reader) take(ctx context.Context, table *pointers.Table, record *kgo.Record) {
	if record.Attrs.IsControl() {
		return
	}
	if record.Value == nil {
		table.Apply(string(record.Key), nil, record.Offset)
		return
	}
	for {
		read, err := r.registry.Decode(ctx, record.Value)
		if err == nil {
			var entry *pointers.Record
			if entry, err = entryOf(read); err == nil {
				table.Apply(string(record.Key), entry, record.Offset)
				return
			}
		}
		if errors.Is(err, records.ErrUndecodable) {
			r.ignored.Add(1)
			return
		}
		r.fail(err) // The registry is away.
		if records.Sleep(ctx, retryPause) != nil {
			return
		}
	}
}

// offsetsOf are the offset of the first record of the topic, and that after the last one that is in no open transaction.
func offsetsOf(ctx context.Context, client *kgo.Client, topic string) (first, end int64, err error) {
	admin := kadm.NewClient(client)
	firsts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	from, isThere := firsts.Lookup(topic, 0)
	to, isToo := ends.Lookup(topic, 0)
	if !isThere || !isToo {
		return 0, 0, kerr.UnknownTopicOrPartition
	}
	return from.Offset, to.Offset, errors.Join(from.Err, to.Err)
}

// Err is the newest reason why the topic or its schemas could not be read; nil when there was none. Reading goes on.
func (r *Reader) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Reader) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = fmt.Errorf("%s: %w", r.topic, err)
}

func (r *Reader) adopt(table *pointers.Table) {
	r.table.Store(table)
	select {
	case <-r.ready:
	default:
		close(r.ready)
	}
	r.tell()
}

func (r *Reader) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// entryOf is what a record of the topic says.
func entryOf(read map[string]any) (*pointers.Record, error) {
	change, _ := read["change"].(map[string]any)
	record := &pointers.Record{Change: pointers.Change{
		Epoch:   number(change["epoch"]),
		Index:   int(number(change["index"])),
		Count:   int(number(change["count"])),
		Term:    number(change["term"]),
		Planner: text(change["planner"]),
	}}
	body, _ := read["body"].(map[string]any)
	if entry, is := body["psm.PointerEntry"].(map[string]any); is {
		shards, _ := entry["shards"].([]any)
		record.Pointer = &pointers.Pointer{
			Slice: text(entry["slice"]),
			Mode:  text(entry["mode"]),
			Epoch: number(entry["epoch"]),
		}
		for _, shard := range shards {
			record.Pointer.Shards = append(record.Pointer.Shards, text(shard))
		}
		return record, nil
	}
	if entry, is := body["psm.ShardEntry"].(map[string]any); is {
		record.Shard = &pointers.Shard{
			ID:       text(entry["shardId"]),
			Instance: text(entry["instanceId"]),
			Address:  text(entry["address"]),
			State:    text(entry["state"]),
			Loss:     text(entry["loss"]),
			Epoch:    number(entry["epoch"]),
		}
		return record, nil
	}
	return nil, fmt.Errorf("%w: it is neither of a slice nor of a shard", records.ErrUndecodable)
}

func text(value any) string {
	found, _ := value.(string)
	return found
}

func number(value any) int64 {
	switch found := value.(type) {
	case int64:
		return found
	case int32:
		return int64(found)
	}
	return 0
}
