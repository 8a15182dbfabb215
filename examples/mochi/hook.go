package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	foreshard "foreshard.dev/client"
	"foreshard.dev/client/events"
	"foreshard.dev/client/router"
)

// hook joins a Mochi server to the fleet.
//
// Sessions: Connected is durable before the client's first SUBSCRIBE is taken, and each SUBSCRIBE before its SUBACK.
// An UNSUBSCRIBE is reported when the client sends one, never for the end of a session, which the fleet learns from
// Disconnected and Ended.
//
// Messages: before a PUBLISH is acknowledged every broker that has a subscriber has it, and has given it to its clients.
// Which member of a share group gets it is the fleet's choice, and never Mochi's.
//
// Takeovers: when a client connects whose session is here, Mochi copies what the session has not delivered, and then lets
// the new connection take the old one's place. A message that came between the two would be lost, and one that came after
// both might be sent before the CONNACK. So none is given to clients until the CONNACK has been sent.
type hook struct {
	mqtt.HookBase
	server   *mqtt.Server
	fleet    *foreshard.Fleet
	peers    *peers
	id       string
	patience time.Duration
	// inbox publishes what other brokers have sent.
	inbox *mqtt.Client

	// takeover is locked by a takeover, and for reading while a message is given to clients, which waits for no client.
	takeover sync.RWMutex

	mu       sync.Mutex
	sessions map[string]session // By client id.
}

type session struct {
	client *mqtt.Client
	epoch  int64
	// taken ends a takeover.
	taken func()
}

const (
	eventTimeout = 30 * time.Second
	// How often, and after which pause, the fleet is asked again.
	againAfter = 200 * time.Millisecond
	// missesMax: how often other members are asked for, when the chosen ones have left their share group.
	missesMax = 5
	// takeoverMax: a connection that is lost before its CONNACK ends its takeover by this.
	takeoverMax = 200 * time.Millisecond
	// reportsMax is how many subscriptions of a client are reported at the same time.
	reportsMax = 256
)

func newHook(server *mqtt.Server, fleet *foreshard.Fleet, peers *peers, id string, patience time.Duration) *hook {
	// A share group of nobody: Mochi calls OnSelectSubscribers only where there is one.
	server.Topics.Subscribe("", packets.Subscription{Filter: "$share/foreshard/#"})
	return &hook{
		server:   server,
		fleet:    fleet,
		peers:    peers,
		id:       id,
		patience: patience,
		inbox:    server.NewClient(nil, "peers", "", true),
		sessions: map[string]session{},
	}
}

// ID names the hook.
func (h *hook) ID() string { return "foreshard" }

// Provides names the events that the hook takes.
func (h *hook) Provides(event byte) bool {
	return slices.Contains([]byte{
		mqtt.OnSessionEstablish,
		mqtt.OnSessionEstablished,
		mqtt.OnPacketSent,
		mqtt.OnDisconnect,
		mqtt.OnClientExpired,
		mqtt.OnSubscribe,
		mqtt.OnSubscribed,
		mqtt.OnUnsubscribe,
		mqtt.OnUnsubscribed,
		mqtt.OnPublish,
		mqtt.OnSelectSubscribers,
		mqtt.OnWillSent,
	}, event)
}

// ---- sessions ------------------------------------------------------------------------------------------------------

// OnSessionEstablish reports the connection before anything of it is taken.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	epoch := h.fleet.Events.NewSessionEpoch()
	h.remember(cl, session{client: cl, epoch: epoch})
	ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
	defer cancel()
	err := h.fleet.Events.Connected(ctx, events.Connection{
		ClientID:      cl.ID,
		SessionEpoch:  epoch,
		CleanStart:    !h.isPresent(cl, pk),
		ExpirySeconds: expiryOf(cl),
	})
	if err != nil {
		h.Log.Error("a connection could not be reported", "client", cl.ID, "error", err)
		cl.Stop(err)
	}
	if existing, found := h.server.Clients.Get(cl.ID); found {
		// Mochi would do it during the takeover, and it may have to wait for that client.
		_ = h.server.DisconnectClient(existing, packets.ErrSessionTakenOver)
		h.takeover.Lock()
		taken := sync.OnceFunc(h.takeover.Unlock)
		time.AfterFunc(takeoverMax, taken)
		h.remember(cl, session{client: cl, epoch: epoch, taken: taken})
	}
}

func (h *hook) remember(cl *mqtt.Client, s session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions[cl.ID] = s
}

// OnPacketSent ends a takeover.
func (h *hook) OnPacketSent(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	if pk.FixedHeader.Type != packets.Connack {
		return
	}
	h.mu.Lock()
	found := h.sessions[cl.ID]
	h.mu.Unlock()
	if found.client == cl && found.taken != nil {
		found.taken()
	}
}

// isPresent: this broker has a session of the client, and Mochi will continue it. A session that another broker has ends.
func (h *hook) isPresent(cl *mqtt.Client, pk packets.Packet) bool {
	existing, found := h.server.Clients.Get(cl.ID)
	isOver := found && existing.Properties.Clean && existing.Properties.ProtocolVersion < 5
	return found && !isOver && !pk.Connect.Clean
}

// expiryOf a session: seconds after the end of the connection.
func expiryOf(cl *mqtt.Client) int64 {
	switch {
	case cl.Properties.ProtocolVersion == 5:
		return int64(cl.Properties.Props.SessionExpiryInterval)
	case cl.Properties.Clean:
		return 0
	}
	return events.Never
}

// OnSessionEstablished reports the subscriptions of a session that continues: the client may have been at another broker
// meanwhile, whose session took them.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	subscriptions := slices.Collect(maps.Values(cl.State.Subscriptions.GetAll()))
	if err := errors.Join(h.subscribe(cl, subscriptions)...); err != nil {
		h.Log.Error("the subscriptions of a session could not be reported", "client", cl.ID, "error", err)
		cl.Stop(err)
	}
}

// OnDisconnect reports the end of the connection; with the expiry that DISCONNECT may have changed.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, expire bool) {
	epoch, isNewest := h.epochOf(cl)
	if !isNewest {
		return // The client has connected again; that has been reported.
	}
	if expire {
		h.forget(cl)
	}
	expiry := expiryOf(cl)
	h.report("a disconnection", cl, func(ctx context.Context) error {
		return h.fleet.Events.Disconnected(ctx, cl.ID, epoch, expiry)
	})
}

// OnClientExpired ends the session: Mochi keeps the subscriptions of an expired client.
func (h *hook) OnClientExpired(cl *mqtt.Client) {
	epoch, isNewest := h.epochOf(cl)
	if !isNewest {
		return
	}
	h.forget(cl)
	h.server.UnsubscribeClient(cl)
	// Mochi's own loop waits for this.
	go h.report("the end of a session", cl, func(ctx context.Context) error {
		return h.fleet.Events.Ended(ctx, cl.ID, epoch)
	})
}

func (h *hook) epochOf(cl *mqtt.Client) (epoch int64, isNewest bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.sessions[cl.ID]
	return found.epoch, found.client == cl
}

func (h *hook) forget(cl *mqtt.Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[cl.ID].client == cl {
		delete(h.sessions, cl.ID)
	}
}

func (h *hook) report(what string, cl *mqtt.Client, send func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
	defer cancel()
	if err := send(ctx); err != nil {
		h.Log.Error(what+" could not be reported", "client", cl.ID, "error", err)
	}
}

// ---- subscriptions -------------------------------------------------------------------------------------------------

// OnSubscribe spells $share as MQTT does: Mochi takes any case for it, and Foreshard does not.
func (h *hook) OnSubscribe(_ *mqtt.Client, pk packets.Packet) packets.Packet { return spelled(pk) }

// OnUnsubscribe does the same.
func (h *hook) OnUnsubscribe(_ *mqtt.Client, pk packets.Packet) packets.Packet { return spelled(pk) }

func spelled(pk packets.Packet) packets.Packet {
	const share = "$share/"
	for i, sub := range pk.Filters {
		if len(sub.Filter) > len(share) && strings.EqualFold(sub.Filter[:len(share)], share) {
			pk.Filters[i].Filter = share + sub.Filter[len(share):]
		}
	}
	return pk
}

// OnSubscribed returns when the subscriptions are durable; SUBACK follows. One that could not be written is refused.
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, reasonCodes []byte) {
	var granted []packets.Subscription
	var at []int
	for i, sub := range pk.Filters {
		if reasonCodes[i] <= packets.CodeGrantedQos2.Code {
			sub.Qos = reasonCodes[i]
			granted, at = append(granted, sub), append(at, i)
		}
	}
	for i, err := range h.subscribe(cl, granted) {
		if err == nil {
			continue
		}
		h.Log.Error("a subscription could not be reported", "client", cl.ID, "filter", granted[i].Filter, "error", err)
		h.server.Topics.Unsubscribe(granted[i].Filter, cl.ID)
		cl.State.Subscriptions.Delete(granted[i].Filter)
		reasonCodes[at[i]] = packets.ErrUnspecifiedError.Code // The slice is the one that SUBACK is made of.
	}
}

// subscribe reports each subscription; the errors are in the same order.
func (h *hook) subscribe(cl *mqtt.Client, subscriptions []packets.Subscription) []error {
	ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
	defer cancel()
	epoch, _ := h.epochOf(cl)
	failed := make([]error, len(subscriptions))
	places := make(chan struct{}, reportsMax)
	var all sync.WaitGroup
	for i, sub := range subscriptions {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			failed[i] = h.fleet.Events.Subscribe(ctx, events.Subscription{
				Filter:                 sub.Filter,
				ClientID:               cl.ID,
				QoS:                    sub.Qos,
				NoLocal:                sub.NoLocal,
				RetainAsPublished:      sub.RetainAsPublished,
				RetainHandling:         sub.RetainHandling,
				SubscriptionIdentifier: sub.Identifier,
				SessionEpoch:           epoch,
			})
		})
	}
	all.Wait()
	return failed
}

// OnUnsubscribed reports what the client has unsubscribed. Mochi calls it at the end of a session too: with a packet of
// its own, which has no id.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	if pk.PacketID == 0 {
		return
	}
	epoch, _ := h.epochOf(cl)
	for _, sub := range pk.Filters {
		h.report("an unsubscription", cl, func(ctx context.Context) error {
			err := h.fleet.Events.Unsubscribe(ctx, sub.Filter, cl.ID, epoch)
			if errors.Is(err, events.ErrInvalid) {
				return nil // There is no such subscription.
			}
			return err
		})
	}
}

// ---- messages ------------------------------------------------------------------------------------------------------

// OnPublish returns when every broker that has a subscriber has the message; its acknowledgement follows. When that cannot
// be, the publisher is told, by the reason code in MQTT 5 and else by the end of its connection, so that it sends the
// message again.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl == h.inbox {
		return pk, nil
	}
	h.fleet.Events.Published(pk.TopicName, len(pk.Payload))
	ctx, cancel := context.WithTimeout(context.Background(), h.patience)
	defer cancel()
	here, err := h.send(ctx, pk)
	if err != nil {
		h.Log.Error("a message could not be delivered", "topic", pk.TopicName, "error", err)
	}
	if err == nil || pk.FixedHeader.Qos == 0 || cl.Net.Inline {
		h.give(pk, here, true)               // Those who can be reached get it.
		return pk, packets.CodeSuccessIgnore // Mochi acknowledges it, and gives it to nobody.
	}
	if cl.Properties.ProtocolVersion == 5 {
		return pk, packets.ErrImplementationSpecificError
	}
	_ = h.server.DisconnectClient(cl, packets.ErrServerUnavailable)
	return pk, packets.ErrRejectPacket
}

// OnWillSent sends a will on; Mochi has given it to its own clients that are in no share group.
func (h *hook) OnWillSent(_ *mqtt.Client, pk packets.Packet) {
	go func() { // Mochi's own loop waits for this.
		ctx, cancel := context.WithTimeout(context.Background(), h.patience)
		defer cancel()
		here, err := h.send(ctx, pk)
		if err != nil {
			h.Log.Error("a will could not be delivered", "topic", pk.TopicName, "error", err)
		}
		h.give(pk, here, false)
	}()
}

// send returns when every other broker has the message, and names the members of share groups that this one gives it to.
func (h *hook) send(ctx context.Context, pk packets.Packet) (here []member, err error) {
	encoded, err := encode(pk)
	if err != nil {
		return nil, err
	}
	// Brokers that have the message, and filters of share groups of which a member has it.
	done := map[string]bool{}
	for misses := 0; ; {
		delivery, err := h.fleet.Router.Deliver(ctx, pk.TopicName)
		if errors.Is(err, router.ErrRefused) || errors.Is(err, router.ErrInvalid) {
			return here, err
		}
		if err == nil {
			var isMissed bool
			if isMissed, err = h.sendAlong(ctx, pk.TopicName, encoded, delivery, done, &here); err == nil {
				misses++
				if !isMissed || misses == missesMax {
					return here, nil // A group of which nobody is there has no subscriber.
				}
			}
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			if err != nil {
				err = fmt.Errorf("%w; it was tried for %v", err, h.patience)
			}
			return here, err
		}
	}
}

// sendAlong sends to those of the delivery who do not have the message yet, at the same time.
func (h *hook) sendAlong(
	ctx context.Context, topic string, encoded []byte, delivery router.Delivery, done map[string]bool, here *[]member,
) (isMissed bool, err error) {
	letters := map[string]*message{}
	letterTo := func(broker string) *message {
		if letters[broker] == nil {
			letters[broker] = &message{Packet: encoded}
		}
		return letters[broker]
	}
	for _, broker := range delivery.Brokers {
		if broker != h.id && !done[broker] {
			letterTo(broker).IsForAll = true
		}
	}
	for _, each := range delivery.Members {
		to := member{Filter: each.Filter, ClientID: each.ClientID}
		switch {
		case done[each.Filter]:
		case each.BrokerID == h.id:
			found, isHere := h.found(topic, to)
			if done[each.Filter] = isHere; isHere {
				*here = append(*here, found)
			} else {
				isMissed = true
			}
		case each.BrokerID != "": // Of a group that is on no broker nobody can be reached.
			letter := letterTo(each.BrokerID)
			letter.Members = append(letter.Members, to)
		}
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for broker, letter := range letters {
		all.Go(func() {
			given, failure := h.peers.forward(ctx, broker, *letter)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(failure, errGone) { // Of its share groups another member is asked for.
				done[broker], isMissed = true, isMissed || len(letter.Members) > 0
				return
			}
			if failure != nil {
				err = errors.Join(err, fmt.Errorf("broker %s: %w", broker, failure))
				return
			}
			done[broker] = done[broker] || letter.IsForAll
			for _, to := range letter.Members {
				done[to.Filter] = !slices.Contains(given.Missed, to)
				isMissed = isMissed || !done[to.Filter]
			}
		})
	}
	all.Wait()
	return isMissed, err
}

// receive takes a message from another broker.
func (h *hook) receive(received message) (receipt, error) {
	pk, err := decode(received.Packet)
	if err != nil {
		return receipt{}, err
	}
	var given receipt
	var here []member
	for _, each := range received.Members {
		if found, isHere := h.found(pk.TopicName, each); isHere {
			here = append(here, found)
		} else {
			given.Missed = append(given.Missed, each)
		}
	}
	h.give(pk, here, received.IsForAll)
	return given, nil
}

// found is the member, or another one of its share group that is connected here.
func (h *hook) found(topic string, wanted member) (member, bool) {
	group := h.server.Topics.Subscribers(topic).Shared[wanted.Filter]
	if _, isHere := group[wanted.ClientID]; isHere {
		return wanted, true
	}
	for id := range group {
		if cl, isKnown := h.server.Clients.Get(id); isKnown && !cl.Closed() {
			return member{Filter: wanted.Filter, ClientID: id}, true
		}
	}
	return member{}, false
}

// give publishes to clients of this broker: these members, and all that are in no share group if it is for all.
func (h *hook) give(pk packets.Packet, members []member, isForAll bool) {
	if !isForAll && len(members) == 0 {
		return
	}
	pk.FixedHeader.Dup = false
	pk.FixedHeader.Retain = pk.FixedHeader.Retain && isForAll
	if pk.FixedHeader.Qos > 0 {
		pk.PacketID = 1 // Mochi wants one, and gives its own to each client.
	}
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 0, false
	pk.Filters = orderOf(pk.Origin, members, isForAll)
	h.takeover.RLock()
	defer h.takeover.RUnlock()
	if err := h.server.InjectPacket(h.inbox, pk); err != nil {
		h.Log.Error("a message could not be given to this broker's clients", "topic", pk.TopicName, "error", err)
	}
}

// orderOf tells OnSelectSubscribers, by what a PUBLISH has no use for, who published the message, whether it is for all,
// and then the members.
func orderOf(origin string, members []member, isForAll bool) packets.Subscriptions {
	filters := packets.Subscriptions{{ShareName: []string{origin}, NoLocal: !isForAll}}
	for _, each := range members {
		filters = append(filters, packets.Subscription{Filter: each.Filter, ShareName: []string{each.ClientID}})
	}
	return filters
}

// OnSelectSubscribers puts the fleet's choice in the place of Mochi's.
func (h *hook) OnSelectSubscribers(subs *mqtt.Subscribers, pk packets.Packet) *mqtt.Subscribers {
	selected := map[string]packets.Subscription{}
	for i, each := range pk.Filters {
		id := each.ShareName[0]
		switch {
		case i == 0 && each.NoLocal:
			subs.Subscriptions = map[string]packets.Subscription{}
			subs.InlineSubscriptions = nil
		case i == 0: // Mochi takes the inbox for the publisher.
			if subs.Subscriptions[id].NoLocal {
				delete(subs.Subscriptions, id)
			}
		default:
			if sub, isHere := subs.Shared[each.Filter][id]; isHere {
				if other, isAlready := selected[id]; isAlready {
					sub = other.Merge(sub)
				}
				selected[id] = sub
			}
		}
	}
	subs.SharedSelected = selected
	subs.Shared = nil // Mochi selects from these when none is selected.
	return subs
}
