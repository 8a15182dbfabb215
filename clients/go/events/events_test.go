package events

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"foreshard.dev/client/internal/records"
	"foreshard.dev/client/internal/registrytest"
	"foreshard.dev/client/keys"
)

func TestKeysGoWhereForeshardExpectsThem(t *testing.T) {
	for _, partitions := range []int{1, 4, 7, 128} {
		partitioner := kgo.StickyKeyPartitioner(nil).ForTopic("subscriptions")
		for _, key := range []string{"a", "21", "home/+/t", "$share/g/home", "büro/\U0001f600/t", strings.Repeat("k", 300)} {
			found := partitioner.Partition(&kgo.Record{Key: []byte(key)}, partitions)
			if want := keys.PartitionOf(key, partitions); found != want {
				t.Errorf("%q of %d: %d, not %d", key, partitions, found, want)
			}
		}
	}
}

// producer writes to nobody.
func producer(t *testing.T) (*Producer, *records.Registry) {
	registry, err := records.Open(registrytest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := kgo.NewClient(append(ClientOptions(), kgo.SeedBrokers("127.0.0.1:1"))...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(t.Context(), nobody, registry, Options{BrokerID: "b1", Prefix: registrytest.Prefix, TopicsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(p.stop)
		p.stopped.Wait()
		nobody.Close()
	})
	return p, registry
}

func TestWhatIsWrittenIsReadAsTheSchemasSay(t *testing.T) {
	p, registry := producer(t)
	at := time.UnixMilli(1_234).UTC()
	for _, given := range []struct {
		to     topic
		record map[string]any
		read   map[string]any
	}{
		{
			to: subscriptions,
			record: map[string]any{
				"action": "SUBSCRIBE", "topicFilter": "a/+", "clientId": "c", "brokerId": "b", "qos": 1, "timestamp": at,
				"sessionEpoch": int64(math.MaxInt32) * 8, "subscriptionIdentifier": 268_435_455,
			},
			read: map[string]any{
				"action": "SUBSCRIBE", "topicFilter": "a/+", "clientId": "c", "brokerId": "b", "qos": int32(1), "timestamp": at,
				"sessionEpoch": int64(math.MaxInt32) * 8, "subscriptionIdentifier": int32(268_435_455),
				"noLocal": false, "retainAsPublished": false, "retainHandling": int32(0), "bySession": false,
			},
		},
		{
			to: sessions,
			record: map[string]any{"timestamp": at, "body": map[string]any{"psm.Connected": map[string]any{
				"clientId": "c", "brokerId": "b", "cleanStart": true, "sessionExpirySeconds": int64(Never), "sessionEpoch": int64(5),
			}}},
			read: map[string]any{"timestamp": at, "body": map[string]any{"psm.Connected": map[string]any{
				"clientId": "c", "brokerId": "b", "cleanStart": true, "sessionExpirySeconds": int64(Never), "sessionEpoch": int64(5),
			}}},
		},
		{
			to: metrics,
			record: map[string]any{"body": map[string]any{"psm.BrokerHeartbeat": map[string]any{
				"brokerId": "b", "pointerOffset": int64(7), "timestamp": at,
			}}},
			read: map[string]any{"body": map[string]any{"psm.BrokerHeartbeat": map[string]any{
				"brokerId": "b", "pointerOffset": int64(7), "timestamp": at, "startedAt": time.UnixMilli(0).UTC(),
			}}},
		},
	} {
		record, err := p.record(given.to, "key", given.record)
		if err != nil {
			t.Fatal(err)
		}
		read, err := registry.Decode(t.Context(), record.Value)
		if err != nil || !reflect.DeepEqual(read, given.read) {
			t.Errorf("%v, %v, not %v", read, err, given.read)
		}
		if want := registrytest.Prefix + names[given.to]; record.Topic != want {
			t.Errorf("it goes to %s, not %s", record.Topic, want)
		}
	}
}

func TestWhatForeshardWouldRefuseIsRefused(t *testing.T) {
	p, _ := producer(t)
	ctx := t.Context()
	for what, err := range map[string]error{
		"no filter":             p.Subscribe(ctx, Subscription{ClientID: "c"}),
		"no client":             p.Subscribe(ctx, Subscription{Filter: "a"}),
		"QoS 3":                 p.Subscribe(ctx, Subscription{Filter: "a", ClientID: "c", QoS: 3}),
		"noLocal, shared":       p.Subscribe(ctx, Subscription{Filter: "$share/g/a", ClientID: "c", NoLocal: true}),
		"retain handling 3":     p.Subscribe(ctx, Subscription{Filter: "a", ClientID: "c", RetainHandling: 3}),
		"identifier too large":  p.Subscribe(ctx, Subscription{Filter: "a", ClientID: "c", SubscriptionIdentifier: 1 << 28}),
		"a filter":              p.Unsubscribe(ctx, "a/#/b", "c", 1),
		"NUL in a client id":    p.Ended(ctx, "c\x00", 1),
		"session epoch 0":       p.Ended(ctx, "c", 0),
		"an expiry below 0":     p.Connected(ctx, Connection{ClientID: "c", SessionEpoch: 1, ExpirySeconds: -1}),
		"an expiry above never": p.Disconnected(ctx, "c", 1, Never+1),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := New(ctx, p.kafka, nil, Options{BrokerID: strings.Repeat("b", 129)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a long broker id: %v", err)
	}
}

func TestSessionEpochsGrow(t *testing.T) {
	p, _ := producer(t)
	last := time.Now().UnixMilli() - 1
	for range 10_000 {
		next := p.NewSessionEpoch()
		if next <= last {
			t.Fatalf("%d after %d", next, last)
		}
		last = next
	}
}

func TestTrafficIsBounded(t *testing.T) {
	p, _ := producer(t)
	for _, topic := range []string{"a", "b", "c", "a"} {
		p.Published(topic, 10)
	}
	if p.Shed() != 1 || len(p.traffic) != 2 || *p.traffic["a"] != (counts{publishes: 2, bytes: 20}) {
		t.Errorf("%d shed, %v", p.Shed(), p.traffic)
	}
}
