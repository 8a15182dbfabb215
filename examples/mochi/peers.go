package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Peers are the brokers of the fleet as one of them sees the others: each is reached at its id, over one connection of
// HTTP/2 on which messages do not wait for each other. A message has arrived when the answer has.

const (
	// packetBytesMax is the largest message that clients may publish.
	packetBytesMax = 1 << 20
	// Base64, and the members.
	bodyBytesMax = 2*packetBytesMax + 1<<20
	// underWayMax is how many messages are on their way to other brokers at the same time; more wait.
	underWayMax    = 4_096
	forwardTimeout = 5 * time.Second
)

// member of a share group.
type member struct {
	Filter   string `json:"filter"`
	ClientID string `json:"clientId"`
}

// message on its way to another broker.
type message struct {
	// Packet is a PUBLISH of MQTT 5.
	Packet []byte `json:"packet"`
	// IsForAll is true when the broker sends it to all of its clients with a matching subscription that is not shared.
	IsForAll bool `json:"isForAll"`
	// Members receive it for their share groups.
	Members []member `json:"members,omitempty"`
}

// receipt names the members that were not there any more, nor another of their group.
type receipt struct {
	Missed []member `json:"missed,omitempty"`
}

type peers struct {
	token    string
	client   *http.Client
	server   *http.Server
	underWay chan struct{}
}

func newPeers(token string) *peers {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:   &protocols,
		DialContext: (&net.Dialer{Timeout: time.Second}).DialContext,
		HTTP2:       &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: 2 * time.Second},
	}
	return &peers{
		token:    token,
		client:   &http.Client{Transport: transport, Timeout: forwardTimeout},
		server:   &http.Server{Protocols: &protocols, ReadHeaderTimeout: forwardTimeout},
		underWay: make(chan struct{}, underWayMax),
	}
}

// serve hands each message to take, until close. A broker listens before its first client connects: one that refuses a
// connection has none.
func (p *peers) serve(listener net.Listener, take func(message) (receipt, error)) error {
	p.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("authorization")), []byte("Bearer "+p.token)) != 1 {
			http.Error(w, "not a broker of this fleet", http.StatusUnauthorized)
			return
		}
		var received message
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyBytesMax)).Decode(&received); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		given, err := take(received)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("content-type", "application/json")
		_ = json.NewEncoder(w).Encode(given)
	})
	if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the address for other brokers: %w", err)
	}
	return nil
}

func (p *peers) close(ctx context.Context) error {
	p.client.CloseIdleConnections()
	return p.server.Shutdown(ctx)
}

// errGone: the other broker's process has ended, and the sessions in its memory with it.
var errGone = errors.New("the broker is gone")

// forward returns when the other broker has the message.
func (p *peers) forward(ctx context.Context, broker string, sent message) (receipt, error) {
	select {
	case p.underWay <- struct{}{}:
		defer func() { <-p.underWay }()
	case <-ctx.Done():
		return receipt{}, ctx.Err()
	}
	body, err := json.Marshal(sent)
	if err != nil {
		return receipt{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+broker+"/messages", bytes.NewReader(body))
	if err != nil {
		return receipt{}, err
	}
	request.Header.Set("authorization", "Bearer "+p.token)
	answer, err := p.client.Do(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return receipt{}, errGone
	}
	if err != nil {
		return receipt{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return receipt{}, fmt.Errorf("%s answers %s", broker, answer.Status)
	}
	var given receipt
	err = json.NewDecoder(http.MaxBytesReader(nil, answer.Body, bodyBytesMax)).Decode(&given)
	return given, err
}

// encode is the packet as MQTT 5 writes it.
func encode(pk packets.Packet) ([]byte, error) {
	out := pk.Copy(false)
	out.ProtocolVersion = 5
	out.PacketID = 1 // MQTT wants one; the receiver gives its own.
	out.Properties.TopicAlias, out.Properties.TopicAliasFlag = 0, false
	out.Properties.SubscriptionIdentifier = nil
	out.Mods.AllowResponseInfo = true
	var bytes bytes.Buffer
	err := out.PublishEncode(&bytes)
	return bytes.Bytes(), err
}

func decode(encoded []byte) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: 5}
	if len(encoded) < 2 {
		return pk, packets.ErrMalformedPacket
	}
	if err := pk.FixedHeader.Decode(encoded[0]); err != nil {
		return pk, err
	}
	if pk.FixedHeader.Type != packets.Publish {
		return pk, packets.ErrMalformedPacket
	}
	rest := bytes.NewReader(encoded[1:])
	size, _, err := packets.DecodeLength(rest)
	if err != nil || size != rest.Len() {
		return pk, packets.ErrMalformedPacket
	}
	err = pk.PublishDecode(encoded[len(encoded)-size:])
	return pk, err
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
