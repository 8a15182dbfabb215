// Package events is what a broker reports to a Foreshard fleet: subscriptions, sessions, traffic and heartbeats.
package events

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/twmb/franz-go/pkg/kgo"

	"foreshard.dev/client/internal/records"
	"foreshard.dev/client/keys"
)

// ErrUnavailable: Kafka did not take the event in time. It may have been written all the same; sending it again is
// harmless.
var ErrUnavailable = errors.New("the log is not available")

// ErrInvalid: Foreshard would refuse the event.
var ErrInvalid = errors.New("the event is not valid")

// Never is the expiry of a session that does not expire, in seconds.
const Never = math.MaxUint32

// Unchanged is the expiry of a DISCONNECT that does not change it.
const Unchanged = -1

// Options of a producer. The zero value of each field but BrokerID and Prefix has a default.
type Options struct {
	// BrokerID names the broker; the same after a restart.
	BrokerID string
	// Prefix of the fleet's topics.
	Prefix string
	// Position is the position of the broker's pointer table, for heartbeats.
	Position func() int64
	// Heartbeat is how often the broker says that it is alive: a second.
	Heartbeat time.Duration
	// Window of the counts of traffic: ten seconds.
	Window time.Duration
	// TopicsMax is the number of topics that are counted in a window: 100,000.
	TopicsMax int
}

// Subscription is what a client has subscribed to.
type Subscription struct {
	Filter, ClientID       string
	QoS                    byte
	NoLocal                bool
	RetainAsPublished      bool
	RetainHandling         byte
	SubscriptionIdentifier int
	// SessionEpoch of the client's connection; 0 for a broker that does not report sessions.
	SessionEpoch int64
}

// Connection is what CONNECT says of a session. For MQTT 3.1.1 a clean session has a clean start and the expiry 0, any
// other Never.
type Connection struct {
	ClientID      string
	SessionEpoch  int64
	CleanStart    bool
	ExpirySeconds int64
}

// Producer writes a broker's events. A call returns when its event is durable: then a SUBACK may be sent. Several
// goroutines may call; the events of one of them are written in their order.
type Producer struct {
	kafka    *kgo.Client
	options  Options
	encoders [3]*records.Encoder
	started  time.Time
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu        sync.Mutex
	lastEpoch int64
	traffic   map[string]*counts
	window    time.Time
	shed      int64
}

type counts struct{ publishes, bytes int64 }

type topic int

const (
	subscriptions topic = iota
	sessions
	metrics
)

var names = [...]string{subscriptions: "subscriptions", sessions: "sessions", metrics: "metrics"}

// ClientOptions are what a Kafka client needs for a Producer: keys go to the partitions that Foreshard expects.
func ClientOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // Murmur2, as Java's.
		kgo.ProducerLinger(2 * time.Millisecond),
		kgo.RecordDeliveryTimeout(30 * time.Second), // Until then a failed write is repeated.
		kgo.MaxBufferedRecords(100_000),
	}
}

// New looks up the schemas, and begins to send heartbeats.
func New(ctx context.Context, kafka *kgo.Client, registry *records.Registry, options Options) (*Producer, error) {
	if err := checkName(options.BrokerID); err != nil {
		return nil, err
	}
	if options.Heartbeat <= 0 {
		options.Heartbeat = time.Second
	}
	if options.Window <= 0 {
		options.Window = 10 * time.Second
	}
	if options.TopicsMax <= 0 {
		options.TopicsMax = 100_000
	}
	if options.Position == nil {
		options.Position = func() int64 { return 0 }
	}
	p := &Producer{
		kafka:   kafka,
		options: options,
		started: time.Now(),
		stop:    make(chan struct{}),
		traffic: map[string]*counts{},
		window:  time.Now().Truncate(options.Window),
	}
	for each, name := range names {
		encoder, err := registry.Encoder(ctx, options.Prefix+name)
		if err != nil {
			return nil, err
		}
		p.encoders[each] = encoder
	}
	p.stopped.Go(p.measure)
	return p, nil
}

// NewSessionEpoch is a number for a new connection, greater than every one that this producer has given: the time in
// milliseconds. Brokers whose clocks are far apart take the numbers from a counter that they share.
func (p *Producer) NewSessionEpoch() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastEpoch = max(p.lastEpoch+1, time.Now().UnixMilli())
	return p.lastEpoch
}

// Subscribe returns when the subscription is durable.
func (p *Producer) Subscribe(ctx context.Context, s Subscription) error {
	if s.NoLocal && keys.IsShared(s.Filter) {
		return fmt.Errorf("%w: noLocal must not be set on a shared subscription", ErrInvalid)
	}
	if s.QoS > 2 || s.RetainHandling > 2 || s.SubscriptionIdentifier < 0 || s.SubscriptionIdentifier > 268_435_455 {
		return fmt.Errorf("%w: options out of their range", ErrInvalid)
	}
	return p.event(ctx, "SUBSCRIBE", s)
}

// Unsubscribe returns when the removal is durable. A broker that reports sessions calls it when its client has
// unsubscribed, never to clean up.
func (p *Producer) Unsubscribe(ctx context.Context, filter, clientID string, sessionEpoch int64) error {
	return p.event(ctx, "UNSUBSCRIBE", Subscription{Filter: filter, ClientID: clientID, SessionEpoch: sessionEpoch})
}

func (p *Producer) event(ctx context.Context, action string, s Subscription) error {
	if err := keys.CheckFilter(s.Filter); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := checkClient(s.ClientID); err != nil {
		return err
	}
	return p.send(ctx, subscriptions, s.Filter, map[string]any{
		"action":                 action,
		"topicFilter":            s.Filter,
		"clientId":               s.ClientID,
		"brokerId":               p.options.BrokerID,
		"qos":                    int(s.QoS),
		"timestamp":              time.Now().UnixMilli(),
		"noLocal":                s.NoLocal,
		"retainAsPublished":      s.RetainAsPublished,
		"retainHandling":         int(s.RetainHandling),
		"subscriptionIdentifier": s.SubscriptionIdentifier,
		"sessionEpoch":           s.SessionEpoch,
	})
}

// Connected says that a client has connected. It returns before the client's first SUBSCRIBE is sent.
func (p *Producer) Connected(ctx context.Context, c Connection) error {
	if c.ExpirySeconds < 0 || c.ExpirySeconds > Never {
		return fmt.Errorf("%w: an expiry is 0 to %d seconds", ErrInvalid, uint32(Never))
	}
	return p.session(ctx, c.ClientID, "psm.Connected", c.SessionEpoch, map[string]any{
		"cleanStart":           c.CleanStart,
		"sessionExpirySeconds": c.ExpirySeconds,
	})
}

// Disconnected says that the connection has closed; with the expiry that DISCONNECT gave, or Unchanged.
func (p *Producer) Disconnected(ctx context.Context, clientID string, sessionEpoch, expirySeconds int64) error {
	if expirySeconds < Unchanged || expirySeconds > Never {
		return fmt.Errorf("%w: an expiry is 0 to %d seconds, or Unchanged", ErrInvalid, uint32(Never))
	}
	expiry := map[string]any{"sessionExpirySeconds": expirySeconds}
	return p.session(ctx, clientID, "psm.Disconnected", sessionEpoch, expiry)
}

// Ended says that the broker has ended the session by itself.
func (p *Producer) Ended(ctx context.Context, clientID string, sessionEpoch int64) error {
	return p.session(ctx, clientID, "psm.Ended", sessionEpoch, map[string]any{})
}

func (p *Producer) session(ctx context.Context, clientID, kind string, epoch int64, body map[string]any) error {
	if err := checkClient(clientID); err != nil {
		return err
	}
	if epoch < 1 {
		return fmt.Errorf("%w: a session epoch is at least 1", ErrInvalid)
	}
	body["clientId"], body["brokerId"], body["sessionEpoch"] = clientID, p.options.BrokerID, epoch
	return p.send(ctx, sessions, clientID, map[string]any{
		"body":      map[string]any{kind: body},
		"timestamp": time.Now().UnixMilli(),
	})
}

func (p *Producer) send(ctx context.Context, to topic, key string, event map[string]any) error {
	record, err := p.record(to, key, event)
	if err != nil {
		return err
	}
	// A write that was tried is not given up by the client: Kafka may have it. The caller does not wait for that.
	done := make(chan error, 1)
	p.kafka.Produce(ctx, record, func(_ *kgo.Record, err error) { done <- err })
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (p *Producer) record(to topic, key string, event map[string]any) (*kgo.Record, error) {
	value, err := p.encoders[to].Encode(event)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &kgo.Record{Topic: p.options.Prefix + names[to], Key: []byte(key), Value: value}, nil
}

// Published counts one PUBLISH; the counts are sent once a window.
func (p *Producer) Published(topic string, sizeBytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	counted := p.traffic[topic]
	if counted == nil {
		if len(p.traffic) >= p.options.TopicsMax {
			p.shed++
			return
		}
		counted = &counts{}
		p.traffic[topic] = counted
	}
	counted.publishes++
	counted.bytes += int64(sizeBytes)
}

// Shed counts the publishes that were not counted and the measurements that were not sent.
func (p *Producer) Shed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shed
}

// measure sends heartbeats and windows of traffic until Close.
func (p *Producer) measure() {
	beat := time.NewTicker(p.options.Heartbeat)
	defer beat.Stop()
	for {
		p.beat()
		p.report(false)
		select {
		case <-beat.C:
		case <-p.stop:
			p.report(true)
			return
		}
	}
}

func (p *Producer) beat() {
	p.tell(p.options.BrokerID, "psm.BrokerHeartbeat", map[string]any{
		"brokerId":      p.options.BrokerID,
		"pointerOffset": p.options.Position(),
		"timestamp":     time.Now().UnixMilli(),
		"startedAt":     p.started.UnixMilli(),
	})
}

func (p *Producer) report(isLast bool) {
	now := time.Now().Truncate(p.options.Window)
	p.mu.Lock()
	began, traffic := p.window, p.traffic
	if !isLast && now.Equal(began) {
		p.mu.Unlock()
		return
	}
	p.window, p.traffic = now, map[string]*counts{}
	p.mu.Unlock()
	for topic, counted := range traffic {
		p.tell(topic, "psm.TopicTraffic", map[string]any{
			"brokerId":    p.options.BrokerID,
			"topic":       topic,
			"publishes":   counted.publishes,
			"bytes":       counted.bytes,
			"windowStart": began.UnixMilli(),
			"windowMs":    int(p.options.Window.Milliseconds()),
		})
	}
}

// tell sends a measurement without waiting for it. Measurements are dropped before subscriptions are.
func (p *Producer) tell(key, kind string, body map[string]any) {
	record, err := p.record(metrics, key, map[string]any{"body": map[string]any{kind: body}})
	drop := func(err error) {
		if err != nil {
			p.mu.Lock()
			p.shed++
			p.mu.Unlock()
		}
	}
	const bufferedMax = 50_000
	if err != nil || p.kafka.BufferedProduceRecords() > bufferedMax {
		drop(ErrUnavailable)
		return
	}
	p.kafka.TryProduce(context.Background(), record, func(_ *kgo.Record, err error) { drop(err) })
}

// Close sends the last window, and what is waiting, until the context ends. The Kafka client stays open.
func (p *Producer) Close(ctx context.Context) error {
	close(p.stop)
	p.stopped.Wait()
	return p.kafka.Flush(ctx)
}

func checkClient(clientID string) error {
	if clientID == "" || len(clientID) > math.MaxUint16 || strings.IndexByte(clientID, 0) >= 0 {
		return fmt.Errorf("%w: a client id has 1 to 65,535 bytes and no U+0000", ErrInvalid)
	}
	return nil
}

func checkName(brokerID string) error {
	const bytesMax = 128
	if brokerID == "" || len(brokerID) > bytesMax || strings.ContainsFunc(brokerID, unicode.IsControl) {
		return fmt.Errorf("%w: a broker id has 1 to %d bytes and no control characters", ErrInvalid, bytesMax)
	}
	return nil
}
