// Package foreshard joins a broker to a Foreshard fleet: it tells who receives a PUBLISH, and reports what the broker's
// clients do.
//
//	fleet, err := foreshard.Join(ctx, foreshard.Options{
//		Brokers:  []string{"localhost:9092"},
//		Registry: "http://localhost:8081/apis/ccompat/v7",
//		BrokerID: "broker-1",
//	})
//	...
//	err = fleet.Events.Subscribe(ctx, events.Subscription{Filter: "home/+", ClientID: "c1", QoS: 1})
//	delivery, err := fleet.Router.Deliver(ctx, "home/kitchen")
//
// What a fleet writes and answers is described in docs/protocol.md of Foreshard.
package foreshard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"foreshard.dev/client/events"
	"foreshard.dev/client/internal/records"
	"foreshard.dev/client/router"
)

// DefaultPrefix of a fleet's topics.
const DefaultPrefix = "foreshard."

// Options of a broker.
type Options struct {
	// Brokers of Kafka, as host:port.
	Brokers []string
	// Registry is the URL of the schema registry, with its path if it has one.
	Registry string
	// RegistryUser and RegistryPassword, where the registry asks for them.
	RegistryUser, RegistryPassword string
	// BrokerID names this broker; the same after a restart.
	BrokerID string
	// Prefix of the fleet's topics; DefaultPrefix when empty.
	Prefix string
	// TLS secures the connections to Kafka and the registry.
	TLS *tls.Config
	// Kafka are more options of both Kafka clients, for example kgo.SASL.
	Kafka []kgo.Opt
	// Router is how shard servers are asked; its Fleet is Prefix.
	Router router.Options
	// Events is how often is reported; its BrokerID, Prefix and Position are set.
	Events events.Options
}

// Fleet is what a broker uses of its fleet.
type Fleet struct {
	// Pointers follows the pointer table.
	Pointers *Reader
	// Router tells who receives a PUBLISH.
	Router *router.Router
	// Events reports what the broker's clients do.
	Events *events.Producer

	kafka *kgo.Client
	stop  context.CancelFunc
	once  sync.Once
}

// Join returns when the pointer table is complete, so that the first look-up is right, or when the context ends.
func Join(ctx context.Context, options Options) (*Fleet, error) {
	if options.Prefix == "" {
		options.Prefix = DefaultPrefix
	}
	common := append([]kgo.Opt{kgo.SeedBrokers(options.Brokers...), kgo.ClientID(options.BrokerID)}, options.Kafka...)
	var registered []sr.ClientOpt
	if options.TLS != nil {
		common = append(common, kgo.DialTLSConfig(options.TLS))
		registered = append(registered, sr.DialTLSConfig(options.TLS))
	}
	if options.RegistryUser != "" {
		registered = append(registered, sr.BasicAuth(options.RegistryUser, options.RegistryPassword))
	}
	registry, err := records.Open(options.Registry, registered...)
	if err != nil {
		return nil, err
	}
	kafka, err := kgo.NewClient(append(events.ClientOptions(), common...)...)
	if err != nil {
		return nil, fmt.Errorf("the Kafka client: %w", err)
	}
	following, stop := context.WithCancel(context.Background())
	fleet := &Fleet{kafka: kafka, stop: stop}
	if err := fleet.join(ctx, following, options, common, registry); err != nil {
		_ = fleet.Close(ctx)
		return nil, err
	}
	return fleet, nil
}

func (f *Fleet) join(ctx, following context.Context, options Options, common []kgo.Opt, registry *records.Registry) error {
	partitions, err := partitionsOf(ctx, f.kafka, options.Prefix+"subscriptions")
	if err != nil {
		return err
	}
	f.Pointers = read(following, options.Prefix+"pointer-table", partitions, common, registry)
	options.Router.Fleet = options.Prefix
	if f.Router, err = router.New(f.Pointers, options.Router); err != nil {
		return err
	}
	select {
	case <-f.Pointers.Ready():
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("the pointer table was not read in time: %w", ctx.Err()), f.Pointers.Err())
	}
	options.Events.BrokerID, options.Events.Prefix = options.BrokerID, options.Prefix
	options.Events.Position = func() int64 { return f.Pointers.Table().Position() }
	f.Events, err = events.New(ctx, f.kafka, registry, options.Events)
	return err
}

// Close sends what is waiting, until the context ends, and stops following.
func (f *Fleet) Close(ctx context.Context) error {
	var err error
	f.once.Do(func() {
		if f.Events != nil {
			err = f.Events.Close(ctx)
		}
		f.stop()
		if f.Pointers != nil {
			<-f.Pointers.done
		}
		if f.Router != nil {
			f.Router.Close()
		}
		f.kafka.Close()
	})
	return err
}

// partitionsOf is the number of partitions of the subscriptions topic, which decides where filters belong.
func partitionsOf(ctx context.Context, kafka *kgo.Client, topic string) (int, error) {
	topics, err := kadm.NewClient(kafka).ListTopics(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("Kafka: %w", err)
	}
	found := topics[topic]
	if found.Err != nil {
		return 0, fmt.Errorf("the topic %s: %w", topic, found.Err)
	}
	if len(found.Partitions) == 0 {
		return 0, errors.New("the topic " + topic + " is not there: has Foreshard been started?")
	}
	return len(found.Partitions), nil
}
