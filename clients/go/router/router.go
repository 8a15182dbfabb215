// Package router tells who receives a PUBLISH: it asks the shards along the pointer table's route, and keeps what they
// answer for as long as it is right.
//
// A delivery is kept while the pointer table stays as it is and no shard tells of a change. When a connection is lost,
// everything is forgotten; a server that does not answer a ping for two seconds counts as lost, so that nothing is kept
// for more than three seconds after it stopped being right.
package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"foreshard.dev/client/keys"
	"foreshard.dev/client/pointers"
)

// Errors of a look-up, by errors.Is.
var (
	// ErrStale: the pointer table does not lead to the subscriptions, and no newer one has come in time.
	ErrStale = errors.New("the pointer table is too old")
	// ErrLost: a shard has lost its data, which is being rebuilt on another.
	ErrLost = errors.New("a shard has lost its data")
	// ErrUnavailable: a shard does not answer.
	ErrUnavailable = errors.New("a shard is not available")
	// ErrRefused: the shard server does not take the question; repeating it does not help.
	ErrRefused = errors.New("a shard server refuses the question")
	// ErrInvalid: the topic or filter is not valid.
	ErrInvalid = errors.New("not a valid topic")
)

// ShardError is what a shard server answered with, or why it did not.
type ShardError struct {
	// Code as in Foreshard's list of error codes.
	Code    string
	Message string
	cause   error
}

func (e *ShardError) Error() string { return e.Code + ": " + e.Message }

// Unwrap is the cause, if there is one.
func (e *ShardError) Unwrap() error { return e.cause }

// Is tells ErrLost, ErrUnavailable and ErrRefused apart by the code.
func (e *ShardError) Is(target error) bool {
	switch e.Code {
	case "SHARD_LOST":
		return target == ErrLost
	case "STORE_UNAVAILABLE", "STORE_CLOSED":
		return target == ErrUnavailable
	}
	return target == ErrRefused
}

// Away says what a look-up does when a shard is away and no replica of it answers.
type Away int

const (
	// Fail with an error: no subscriber is passed over. The default.
	Fail Away = iota
	// Partial answers name the shards that are missing, in Delivery.Missing.
	Partial
)

// Tables is where the router takes the pointer table from.
type Tables interface {
	Table() *pointers.Table
	// Newer waits until the table is newer than the epoch or the context ends.
	Newer(ctx context.Context, epoch int64) bool
}

// Options of a router. The zero value of each field has a default.
type Options struct {
	// Servers are the addresses of all shard servers, `host:port` or `http://host:port`; no other is asked. A shard is on
	// the one that answers for it, whatever the pointer table calls it. Empty: the addresses of the pointer table are
	// asked, and then no token is sent.
	Servers []string
	// Token that the shard servers ask for.
	Token string
	// TLS secures the connections.
	TLS *tls.Config
	// Fleet is the prefix of the fleet's topics: shards of another fleet refuse. Empty: not stated.
	Fleet string
	// Timeout of one question, connecting included: two seconds.
	Timeout time.Duration
	// Wait is how long a newer pointer table is waited for, at most twice in one look-up: two seconds.
	Wait time.Duration
	// CacheBytes bounds the deliveries that are kept: 64 MiB; negative: none are.
	CacheBytes int
	// Away says what to do when a shard is away.
	Away Away
}

// hopsMax: a slice moves at most once during a look-up; twice when the broker lags behind as well.
const hopsMax = 2

// placesMax of shards are remembered.
const placesMax = 10_000

// slicesMax of one question.
const slicesMax = 256

// Subscriber is one subscription of a client.
type Subscriber struct {
	Filter, ClientID string
	// BrokerID is empty while the client is connected to no broker.
	BrokerID               string
	QoS                    byte
	NoLocal                bool
	RetainAsPublished      bool
	RetainHandling         byte
	SubscriptionIdentifier int
}

// Delivery says where to send a message. It is shared: do not change it.
type Delivery struct {
	// Brokers that have a subscriber, each once; each finds its own clients itself.
	Brokers []string
	// HasOffline is true when there are subscribers that are on no broker now.
	HasOffline bool
	// Members: of each share group the one that receives it, in turn; a connected one if there is one.
	Members []Subscriber
	// Missing are the shards that did not answer, with the policy Partial.
	Missing []string
}

// version of the pointer table that an answer belongs to.
type version struct {
	table *pointers.Table
	epoch int64
}

// Router is safe for use by several goroutines.
type Router struct {
	tables  Tables
	options Options
	servers []string
	cache   *cache
	turn    atomic.Uint64

	mu          sync.Mutex
	connections map[string]*connection
	places      map[string]string // Shard -> the server that has answered for it.
}

// New connects to nothing yet.
func New(tables Tables, options Options) (*Router, error) {
	if options.Token != "" && len(options.Servers) == 0 {
		return nil, errors.New("a token is sent only to the shard servers that are named in Servers")
	}
	if options.Timeout <= 0 {
		options.Timeout = 2 * time.Second
	}
	if options.Wait <= 0 {
		options.Wait = 2 * time.Second
	}
	if options.CacheBytes == 0 {
		options.CacheBytes = 64 << 20
	}
	r := &Router{
		tables:      tables,
		options:     options,
		cache:       newCache(options.CacheBytes),
		connections: map[string]*connection{},
		places:      map[string]string{},
	}
	for _, address := range options.Servers {
		r.servers = append(r.servers, hostOf(address))
	}
	return r, nil
}

// Home tells where this client's subscription is kept.
func (r *Router) Home(filter, clientID string) (pointers.Pointer, error) {
	if err := keys.CheckFilter(filter); err != nil {
		return pointers.Pointer{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	pointer, found := r.tables.Table().Resolve(filter, clientID)
	if !found {
		return pointers.Pointer{}, fmt.Errorf("%w: no slice covers the filter", ErrStale)
	}
	return pointer, nil
}

// Deliver tells where to send a message that was published to the topic.
func (r *Router) Deliver(ctx context.Context, topic string) (Delivery, error) {
	table := r.tables.Table()
	if kept, found := r.cache.get(topic, version{table, table.Epoch()}); found {
		return kept, nil
	}
	end := r.cache.begin(topic)
	answers, at, missing, err := along(ctx, r, topic, (*connection).brokers)
	if err != nil {
		end(nil)
		return Delivery{}, err
	}
	delivery, keep := Delivery{Missing: missing}, time.Duration(-1)
	for _, answer := range answers {
		for _, broker := range answer.brokers {
			if broker == "" {
				delivery.HasOffline = true
			} else if len(answers) == 1 || !slices.Contains(delivery.Brokers, broker) {
				delivery.Brokers = append(delivery.Brokers, broker)
			}
		}
		delivery.Members = append(delivery.Members, answer.members...)
		if keep < 0 || answer.keep >= 0 && answer.keep < keep {
			keep = answer.keep
		}
	}
	now := r.tables.Table()
	isSame := at == version{now, now.Epoch()}
	if keep == 0 || !isSame || len(delivery.Members) > 0 || len(missing) > 0 {
		end(nil)
		return delivery, nil
	}
	answer := &kept{delivery: delivery, version: at}
	if keep > 0 {
		answer.until = time.Now().Add(keep)
	}
	end(answer)
	return delivery, nil
}

// Subscribers are all whose filter matches the topic, each once for each filter.
func (r *Router) Subscribers(ctx context.Context, topic string) ([]Subscriber, error) {
	answers, _, missing, err := along(ctx, r, topic, (*connection).clients)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, &ShardError{Code: "STORE_UNAVAILABLE", Message: strings.Join(missing, ", ") + " did not answer"}
	}
	var found []Subscriber
	seen := map[[2]string]bool{}
	for _, subscriber := range slices.Concat(answers...) {
		if key := [2]string{subscriber.Filter, subscriber.ClientID}; !seen[key] {
			seen[key] = true
			found = append(found, subscriber)
		}
	}
	return found, nil
}

// CachedTopics is the number of topics whose delivery is kept.
func (r *Router) CachedTopics() int { return r.cache.topics() }

// Close ends the connections.
func (r *Router) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, connection := range r.connections {
		connection.close()
	}
}

// along asks every shard of the topic's route; the whole route again when one answers that a slice has moved.
func along[Answer any](ctx context.Context, r *Router, topic string,
	ask func(*connection, context.Context, question) (Answer, error),
) (answers []Answer, at version, missing []string, err error) {
	if err := keys.CheckTopic(topic); err != nil {
		return nil, at, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	turn := r.turn.Add(1)
	for hop := 0; ; hop++ {
		table := r.tables.Table()
		at = version{table, table.Epoch()}
		stops := divided(table.Route(topic, turn))
		if len(stops) == 0 {
			return nil, at, nil, fmt.Errorf("%w: no slice covers the topic", ErrStale)
		}
		replies, errs := make([]Answer, len(stops)), make([]error, len(stops))
		if len(stops) == 1 {
			replies[0], errs[0] = askOne(ctx, r, at, stops[0], topic, ask)
		} else {
			var all sync.WaitGroup
			for i := range stops {
				all.Go(func() { replies[i], errs[i] = askOne(ctx, r, at, stops[i], topic, ask) })
			}
			all.Wait()
		}
		answers, missing = nil, nil
		isMoved, newest := false, at.epoch
		for i, err := range errs {
			var refused *ShardError
			switch {
			case err == nil:
				answers = append(answers, replies[i])
			case errors.As(err, &refused) && refused.isMoved():
				isMoved, newest = true, max(newest, refused.movedAt()-1)
			case r.options.Away == Partial && isAway(err):
				missing = append(missing, stops[i].Shard)
			default:
				return nil, at, nil, err
			}
		}
		if !isMoved {
			return answers, at, missing, nil
		}
		if hop == hopsMax {
			return nil, at, nil, fmt.Errorf("%w: a shard still says that a slice has moved, at epoch %d", ErrStale, at.epoch)
		}
		wait, cancel := context.WithTimeout(ctx, r.options.Wait)
		r.tables.Newer(wait, newest)
		cancel()
	}
}

// askOne asks the shard of a stop; when it is away, one that holds the same.
func askOne[Answer any](ctx context.Context, r *Router, at version, stop pointers.Stop, topic string,
	ask func(*connection, context.Context, question) (Answer, error),
) (answer Answer, err error) {
	for _, id := range slices.Concat([]string{stop.Shard}, stop.Others) {
		shard, found := at.table.Shard(id)
		switch {
		case !found:
			return answer, &ShardError{Code: "SHARD_UNKNOWN", Message: id + " is not in the pointer table"}
		case shard.IsLost():
			err = &ShardError{Code: "SHARD_LOST", Message: id + " is being rebuilt on another shard"}
			continue
		}
		answer, err = askServers(ctx, r, shard, at.table.Partitions(), func(server *connection) (Answer, error) {
			return ask(server, ctx, question{
				shard:    id,
				instance: shard.Instance,
				topic:    topic,
				epoch:    at.epoch,
				slices:   stop.Slices,
			})
		})
		if err == nil || !isAway(err) || ctx.Err() != nil {
			return answer, err
		}
	}
	return answer, err
}

// askServers asks the server that is known or said to have the shard; when it has not, all of them.
func askServers[Answer any](ctx context.Context, r *Router, shard pointers.Shard, partitions int,
	ask func(*connection) (Answer, error),
) (Answer, error) {
	first := r.placeOf(shard)
	if first != "" {
		answer, err := ask(r.connection(first, partitions))
		if err == nil {
			r.setPlace(shard.ID, first)
			return answer, nil
		}
		var refused *ShardError
		isElsewhere := errors.As(err, &refused) && (refused.Code == "SHARD_UNKNOWN" || refused.Code == "SHARD_LOST")
		if !isElsewhere || len(r.servers) < 2 || ctx.Err() != nil {
			return answer, err
		}
		r.setPlace(shard.ID, "")
	}
	type reply struct {
		server string
		answer Answer
		err    error
	}
	replies := make(chan reply, len(r.servers))
	for _, server := range r.servers {
		go func() {
			answer, err := ask(r.connection(server, partitions))
			replies <- reply{server, answer, err}
		}()
	}
	most := reply{err: &ShardError{Code: "SHARD_UNKNOWN", Message: "no server has " + shard.ID}}
	for range r.servers {
		given := <-replies
		if given.err == nil {
			r.setPlace(shard.ID, given.server)
			return given.answer, nil
		}
		if saysMore(given.err, most.err) {
			most = given
		}
	}
	return most.answer, most.err
}

// saysMore: a refusal, then a server that cannot be asked, since the shard may be there, then that its data is lost, then
// that it is not there.
func saysMore(err, than error) bool {
	leastFirst := []string{"SHARD_UNKNOWN", "SHARD_LOST", "STORE_UNAVAILABLE"}
	rank := func(err error) int {
		var refused *ShardError
		if !errors.As(err, &refused) || !slices.Contains(leastFirst, refused.Code) {
			return len(leastFirst)
		}
		return slices.Index(leastFirst, refused.Code)
	}
	return rank(err) > rank(than)
}

// placeOf is the server to ask first; empty when it has to be found.
func (r *Router) placeOf(shard pointers.Shard) string {
	if len(r.servers) == 0 {
		return hostOf(shard.Address)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if place := r.places[shard.ID]; place != "" {
		return place
	}
	if host := hostOf(shard.Address); slices.Contains(r.servers, host) {
		return host
	}
	return ""
}

func (r *Router) setPlace(shard, server string) {
	if len(r.servers) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if server == "" {
		delete(r.places, shard)
	} else {
		if len(r.places) > placesMax { // Of shards that are gone.
			clear(r.places)
		}
		r.places[shard] = server
	}
}

func (r *Router) connection(host string, partitions int) *connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.connections[host]
	if found == nil {
		changed := func(topic string) {
			if topic == "" {
				r.cache.clear()
			} else {
				r.cache.drop(topic)
			}
		}
		found = &connection{address: host, options: &r.options, partitions: partitions, changed: changed}
		r.connections[host] = found
	}
	return found
}

// divided makes stops of at most as many slices as one question takes.
func divided(stops []pointers.Stop) []pointers.Stop {
	for i := 0; i < len(stops); i++ {
		if stop := stops[i]; len(stop.Slices) > slicesMax {
			stops[i].Slices = stop.Slices[:slicesMax]
			stop.Slices = stop.Slices[slicesMax:]
			stops = append(stops, stop)
		}
	}
	return stops
}

func isAway(err error) bool { return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLost) }

func (e *ShardError) isMoved() bool { return e.Code == "MOVED" || e.Code == "SHARD_UNKNOWN" }

// movedAt is the epoch of `MOVED slice epoch`; 0 when none is told. Slices may contain spaces.
func (e *ShardError) movedAt() int64 {
	epoch, _ := strconv.ParseInt(e.Message[strings.LastIndexByte(e.Message, ' ')+1:], 10, 64)
	return epoch
}
