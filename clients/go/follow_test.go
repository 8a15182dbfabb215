package foreshard

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"foreshard.dev/client/internal/records"
	"foreshard.dev/client/internal/registrytest"
	"foreshard.dev/client/pointers"
)

// planner writes changes of the pointer table, each in a transaction.
type planner struct {
	t      *testing.T
	seeds  kgo.Opt
	client *kgo.Client
	schema *avro.Schema
	epoch  int
}

const pointerTopic = registrytest.Prefix + "pointer-table"

func newPlanner(t *testing.T) *planner {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, pointerTopic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	text, err := os.ReadFile("../../schemas/pointer-record.avsc")
	if err != nil {
		t.Fatal(err)
	}
	p := &planner{t: t, seeds: kgo.SeedBrokers(cluster.ListenAddrs()...), schema: avro.MustParse(string(text))}
	p.open("planner")
	return p
}

func (p *planner) open(name string) {
	client, err := kgo.NewClient(p.seeds, kgo.TransactionalID(name), kgo.DefaultProduceTopic(pointerTopic))
	if err != nil {
		p.t.Fatal(err)
	}
	p.client = client
	p.t.Cleanup(client.Close)
}

// write appends the change of these slices to one shard; it commits unless told otherwise.
func (p *planner) write(end kgo.TransactionEndTry, slices ...string) {
	p.t.Helper()
	p.epoch++
	bodies := []map[string]any{{"psm.ShardEntry": map[string]any{
		"shardId": "s", "storeKind": "TRIE", "datastoreType": "t", "instanceId": "i", "address": "a", "state": "READY",
		"epoch": p.epoch,
	}}}
	keys := []string{"s:s"}
	for _, slice := range slices {
		keys = append(keys, "p:"+slice)
		bodies = append(bodies, map[string]any{"psm.PointerEntry": map[string]any{
			"slice": slice, "mode": "SINGLE", "shards": []string{"s"}, "epoch": p.epoch,
		}})
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	if err := p.client.BeginTransaction(); err != nil {
		p.t.Fatal(err)
	}
	for i, body := range bodies {
		change := map[string]any{"epoch": p.epoch, "index": i, "count": len(bodies), "term": 1, "planner": "p"}
		value, err := p.schema.Encode(map[string]any{"change": change, "body": body})
		if err != nil {
			p.t.Fatal(err)
		}
		p.send(ctx, keys[i], append([]byte{0, 0, 0, 0, 4}, value...))
	}
	if err := p.client.EndTransaction(ctx, end); err != nil {
		p.t.Fatal(err)
	}
	if end == kgo.TryAbort {
		p.epoch--
	}
}

func (p *planner) send(ctx context.Context, key string, value []byte) {
	p.t.Helper()
	if err := p.client.ProduceSync(ctx, &kgo.Record{Key: []byte(key), Value: value}).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *planner) follow() *Reader {
	p.t.Helper()
	registry, err := records.Open(registrytest.New(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	reader := read(ctx, pointerTopic, 1, []kgo.Opt{p.seeds, kgo.MetadataMinAge(100 * time.Millisecond)}, registry)
	p.t.Cleanup(func() {
		cancel()
		<-reader.done
	})
	return reader
}

func awaited(t *testing.T, reader *Reader) *pointers.Table {
	t.Helper()
	select {
	case <-reader.Ready():
	case <-time.After(time.Minute):
		t.Fatalf("it is not ready: %v", reader.Err())
	}
	return reader.Table()
}

func reaches(t *testing.T, reader *Reader, epoch int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !reader.Newer(ctx, epoch-1) || reader.Table().Epoch() != epoch {
		t.Fatalf("the table is at epoch %d, not %d: %v", reader.Table().Epoch(), epoch, reader.Err())
	}
}

func TestAnEmptyTopicIsReadAtOnce(t *testing.T) {
	p := newPlanner(t)
	reader := p.follow()
	if table := awaited(t, reader); table.Epoch() != 0 {
		t.Errorf("epoch %d", table.Epoch())
	}
	p.write(kgo.TryCommit, "c/0/", "w/0/")
	reaches(t, reader, 1)
	if pointer, found := reader.Table().Resolve("a", "c"); !found || pointer.Slice != "c/0/" {
		t.Errorf("%+v", pointer)
	}
}

func TestTheTableIsReadToTheEndAndFollowed(t *testing.T) {
	p := newPlanner(t)
	for range 5 {
		p.write(kgo.TryCommit, "c/0/", "w/0/")
	}
	p.write(kgo.TryAbort, "t/aborted")
	reader := p.follow()
	table := awaited(t, reader)
	if table.Epoch() != 5 || len(table.Pointers()) != 2 {
		t.Errorf("epoch %d, %d slices", table.Epoch(), len(table.Pointers()))
	}
	// Five changes of three records and a marker, and an aborted one.
	if table.Position() < 20 {
		t.Errorf("position %d", table.Position())
	}
	p.write(kgo.TryCommit, "t/a")
	reaches(t, reader, 6)
	if reader.Table() != table {
		t.Error("a change makes another table")
	}
	if reader.Ignored() != 0 {
		t.Errorf("%d ignored", reader.Ignored())
	}
}

func TestWhatCannotBeReadIsCountedAndSkipped(t *testing.T) {
	p := newPlanner(t)
	p.write(kgo.TryCommit, "c/0/", "w/0/")
	if err := p.client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	p.send(t.Context(), "p:t/b", []byte("nonsense"))
	p.send(t.Context(), "p:t/b", []byte{0, 0, 0, 0, 4, 1})
	if err := p.client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	reader := p.follow()
	awaited(t, reader)
	p.write(kgo.TryCommit, "t/a")
	reaches(t, reader, 2)
	if reader.Ignored() != 2 {
		t.Errorf("%d ignored", reader.Ignored())
	}
}

func TestATopicThatIsCreatedAnewIsReadAnew(t *testing.T) {
	p := newPlanner(t)
	for range 3 {
		p.write(kgo.TryCommit, "c/0/", "w/0/", "t/old")
	}
	reader := p.follow()
	before := awaited(t, reader)
	admin := kadm.NewClient(p.client)
	if _, err := admin.DeleteTopics(t.Context(), pointerTopic); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopics(t.Context(), 1, 1, nil, pointerTopic); err != nil {
		t.Fatal(err)
	}
	p.client.Close()
	p.open("next")
	p.epoch = 0
	for range 5 {
		p.write(kgo.TryCommit, "c/0/", "w/0/")
	}
	reaches(t, reader, 5)
	if reader.Table() == before || len(reader.Table().Pointers()) != 2 {
		t.Errorf("%d slices", len(reader.Table().Pointers()))
	}
}
