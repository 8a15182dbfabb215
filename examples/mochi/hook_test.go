package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"reflect"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// quiet is a server without clients, and its hook.
func quiet(t *testing.T) *hook {
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), InlineClient: true})
	h := newHook(server, nil, nil, "b1", time.Second)
	if err := server.AddHook(h, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return h
}

func publish(topic string) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true},
		TopicName:   topic,
		Payload:     []byte("payload"),
		Properties: packets.Properties{
			ContentType:           "text/plain",
			ResponseTopic:         "answers",
			CorrelationData:       []byte{1, 2},
			MessageExpiryInterval: 60,
			User:                  []packets.UserProperty{{Key: "k", Val: "v"}},
			TopicAlias:            3,
			TopicAliasFlag:        true,
		},
	}
}

func TestAPacketArrivesAsItWasSent(t *testing.T) {
	sent := publish("a/ü")
	encoded, err := encode(sent)
	if err != nil {
		t.Fatal(err)
	}
	found, err := decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	want := sent.Properties
	want.TopicAlias, want.TopicAliasFlag = 0, false
	if found.TopicName != "a/ü" || string(found.Payload) != "payload" || found.FixedHeader.Qos != 1 ||
		!found.FixedHeader.Retain || !reflect.DeepEqual(found.Properties, want) {
		t.Errorf("%+v", found)
	}
	for _, broken := range [][]byte{nil, {0x30}, {0x10, 0}, encoded[:len(encoded)-1], append(encoded, 0), {0x32, 2, 0, 9}} {
		if _, err := decode(broken); err == nil {
			t.Errorf("%x was read", broken)
		}
	}
}

func TestTheFleetChoosesOfAShareGroup(t *testing.T) {
	h := quiet(t)
	for _, client := range []string{"m1", "m2"} {
		h.server.Topics.Subscribe(client, packets.Subscription{Filter: "$share/g/a", Qos: 1})
		h.server.Topics.Subscribe(client, packets.Subscription{Filter: "$share/other/#", Qos: 2})
	}
	h.server.Topics.Subscribe("c", packets.Subscription{Filter: "a"})
	select1 := func(filters packets.Subscriptions) *mqtt.Subscribers {
		pk := publish("a")
		pk.Filters = filters
		subs := h.OnSelectSubscribers(h.server.Topics.Subscribers("a"), pk)
		if len(subs.SharedSelected) == 0 {
			subs.SelectShared() // As Mochi does.
		}
		subs.MergeSharedSelected()
		return subs
	}
	keysOf := func(subs *mqtt.Subscribers) map[string]byte {
		found := map[string]byte{}
		for id, sub := range subs.Subscriptions {
			found[id] = sub.Qos
		}
		return found
	}
	h.server.Topics.Subscribe("own", packets.Subscription{Filter: "a", NoLocal: true})
	both := []member{{Filter: "$share/g/a", ClientID: "m2"}, {Filter: "$share/other/#", ClientID: "m2"}}
	left := []member{{Filter: "$share/g/a", ClientID: "m3"}}
	for _, given := range []struct {
		what    string
		filters packets.Subscriptions
		want    map[string]byte
	}{
		{"Mochi's own", nil, map[string]byte{"c": 0, "own": 0}},
		{"none chosen", orderOf("p", nil, true), map[string]byte{"c": 0, "own": 0}},
		{"by who wants no message of its own", orderOf("own", nil, true), map[string]byte{"c": 0}},
		{"one chosen", orderOf("own", both[:1], true), map[string]byte{"c": 0, "m2": 1}},
		{"chosen for two groups", orderOf("own", both, true), map[string]byte{"c": 0, "m2": 2}},
		{"not for all", orderOf("p", both[:1], false), map[string]byte{"m2": 1}},
		{"not for all, who has left", orderOf("p", left, false), map[string]byte{}},
	} {
		if found := keysOf(select1(given.filters)); !reflect.DeepEqual(found, given.want) {
			t.Errorf("%s: %v, not %v", given.what, found, given.want)
		}
	}
	if _, isHere := h.found("a", member{Filter: "$share/g/a", ClientID: "m1"}); !isHere {
		t.Error("a member is not found")
	}
	// Nobody of the group is connected.
	if _, isHere := h.found("a", member{Filter: "$share/g/a", ClientID: "m3"}); isHere {
		t.Error("a member that has left is found")
	}
}

func TestSharesAreSpelledAsMQTTDoes(t *testing.T) {
	pk := packets.Packet{Filters: packets.Subscriptions{{Filter: "$SHARE/G/A"}, {Filter: "$shared/g/a"}, {Filter: "a"}}}
	found := (&hook{}).OnSubscribe(nil, pk).Filters
	if found[0].Filter != "$share/G/A" || found[1].Filter != "$shared/g/a" || found[2].Filter != "a" {
		t.Errorf("%+v", found)
	}
}

func TestAMessageReachesAnotherBroker(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	received := make(chan message, 1)
	there := newPeers("secret")
	go there.serve(listener, func(m message) (receipt, error) {
		received <- m
		return receipt{Missed: m.Members}, nil
	})
	t.Cleanup(func() { there.close(context.Background()) })
	here := newPeers("secret")
	sent := message{Packet: []byte{1, 2}, IsForAll: true, Members: []member{{Filter: "$share/g/a", ClientID: "m"}}}
	given, err := here.forward(t.Context(), address, sent)
	if err != nil || !reflect.DeepEqual(<-received, sent) || !reflect.DeepEqual(given.Missed, sent.Members) {
		t.Errorf("%+v, %v", given, err)
	}
	if _, err := newPeers("another").forward(t.Context(), address, sent); err == nil {
		t.Error("a stranger's message is taken")
	}
	if _, err := here.forward(t.Context(), "127.0.0.1:1", sent); !errors.Is(err, errGone) {
		t.Errorf("%v, not errGone", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := here.forward(ended, address, sent); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
