package events

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"foreshard.dev/client/internal/records"
	"foreshard.dev/client/internal/registrytest"
	"foreshard.dev/client/keys"
)

const partitions = 4

// fleet is a Kafka with the topics, which fails the first writes when told so, and a producer.
func fleet(t *testing.T, failures int64) (*kfake.Cluster, *Producer, *records.Registry) {
	t.Helper()
	topics := []string{registrytest.Prefix + "subscriptions", registrytest.Prefix + "sessions", registrytest.Prefix + "metrics"}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var failed atomic.Int64
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if failed.Add(1) > failures {
			return nil, nil, false
		}
		return nil, errors.New("the broker is gone"), true // The connection is closed.
	})
	again := kgo.MetadataMinAge(20 * time.Millisecond) // After a failure it asks who leads.
	client, err := kgo.NewClient(append(ClientOptions(), kgo.SeedBrokers(cluster.ListenAddrs()...), again)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	registry, err := records.Open(registrytest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(t.Context(), client, registry, Options{
		BrokerID: "b1",
		Prefix:   registrytest.Prefix,
		Position: func() int64 { return 7 },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Close(ended)
	})
	return cluster, p, registry
}

// written are the records of a topic, in the order of their partitions.
func written(t *testing.T, cluster *kfake.Cluster, topic string, count int) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(registrytest.Prefix+topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var found []*kgo.Record
	for len(found) < count && ctx.Err() == nil {
		found = append(found, client.PollFetches(ctx).Records()...)
	}
	return found
}

func TestEventsAreWrittenInTheirOrderWhenWritesFail(t *testing.T) {
	cluster, p, registry := fleet(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	filters := []string{"a", "home/+/t", "$share/g/a", "büro/\U0001f600"}
	const rounds = 5
	for round := range rounds {
		for _, filter := range filters {
			s := Subscription{Filter: filter, ClientID: "c", QoS: 1, SubscriptionIdentifier: round + 1, SessionEpoch: 5}
			if err := p.Subscribe(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := map[string]int{}
	for _, record := range written(t, cluster, "subscriptions", rounds*len(filters)) {
		event, err := registry.Decode(ctx, record.Value)
		if err != nil {
			t.Fatal(err)
		}
		filter := string(record.Key)
		seen[filter]++
		if event["topicFilter"] != filter || event["brokerId"] != "b1" || event["sessionEpoch"] != int64(5) {
			t.Errorf("%v under %q", event, filter)
		}
		if int(record.Partition) != keys.PartitionOf(filter, partitions) {
			t.Errorf("%q is in partition %d", filter, record.Partition)
		}
		if fmt.Sprint(event["subscriptionIdentifier"]) != fmt.Sprint(seen[filter]) {
			t.Errorf("event %v of %q is the number %d", event["subscriptionIdentifier"], filter, seen[filter])
		}
	}
	for _, filter := range filters {
		if seen[filter] != rounds {
			t.Errorf("%d events of %q", seen[filter], filter)
		}
	}
}

func TestSessionsAndHeartbeats(t *testing.T) {
	cluster, p, registry := fleet(t, 0)
	ctx := t.Context()
	epoch := p.NewSessionEpoch()
	if err := errors.Join(
		p.Connected(ctx, Connection{ClientID: "c", SessionEpoch: epoch, ExpirySeconds: 60}),
		p.Disconnected(ctx, "c", epoch, Unchanged),
		p.Ended(ctx, "c", epoch),
	); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, record := range written(t, cluster, "sessions", 3) {
		read, err := registry.Decode(ctx, record.Value)
		if err != nil {
			t.Fatal(err)
		}
		for kind, body := range read["body"].(map[string]any) {
			kinds = append(kinds, kind)
			if body.(map[string]any)["sessionEpoch"] != epoch || string(record.Key) != "c" {
				t.Errorf("%v", read)
			}
		}
	}
	if fmt.Sprint(kinds) != "[psm.Connected psm.Disconnected psm.Ended]" {
		t.Errorf("%v", kinds)
	}
	beat := written(t, cluster, "metrics", 1)[0]
	read, err := registry.Decode(ctx, beat.Value)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := read["body"].(map[string]any)["psm.BrokerHeartbeat"].(map[string]any)
	if string(beat.Key) != "b1" || body["pointerOffset"] != int64(7) {
		t.Errorf("%v", read)
	}
}

func TestAnEventThatKafkaDoesNotTakeIsAnError(t *testing.T) {
	_, p, _ := fleet(t, 1_000_000)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Subscribe(ctx, Subscription{Filter: "a", ClientID: "c"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, not ErrUnavailable", err)
	}
}
