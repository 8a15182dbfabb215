// Mochi is an MQTT broker of a Foreshard fleet: a Mochi server, with hooks that report its clients' sessions and
// subscriptions and send each message to the brokers that have its subscribers. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	foreshard "foreshard.dev/client"
	"foreshard.dev/client/router"
)

type settings struct {
	mqtt, peer, kafka, registry, prefix, servers string
	patience                                     time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.mqtt, "mqtt", "127.0.0.1:1883", "where clients connect")
	flag.StringVar(&s.peer, "peer", "127.0.0.1:7801", "where the other brokers reach this one; also its id in the fleet")
	flag.StringVar(&s.kafka, "kafka", "127.0.0.1:9092", "Kafka brokers, separated by commas")
	flag.StringVar(&s.registry, "registry", "http://127.0.0.1:8081/apis/ccompat/v7", "schema registry, with its path")
	flag.StringVar(&s.prefix, "prefix", foreshard.DefaultPrefix, "FORESHARD_TOPIC_PREFIX")
	flag.StringVar(&s.servers, "shard-servers", "", "all shard servers, separated by commas; empty: as the pointer table has them")
	flag.DurationVar(&s.patience, "patience", 10*time.Second, "how long a message waits for shards and brokers that are away")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "mochi:", err)
		os.Exit(1)
	}
}

// run serves until the context ends.
func run(ctx context.Context, s settings) error {
	// Both are secrets, so they come from the environment.
	token, peerToken := os.Getenv("SHARD_SERVER_TOKEN"), os.Getenv("PEER_TOKEN")
	if !isLoopback(s.peer) && peerToken == "" {
		return errors.New("PEER_TOKEN must be set where other machines reach -peer")
	}
	asked := router.Options{Token: token}
	if s.servers != "" {
		asked.Servers = strings.Split(s.servers, ",")
	}
	joining, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	fleet, err := foreshard.Join(joining, foreshard.Options{
		Brokers:  strings.Split(s.kafka, ","),
		Registry: s.registry,
		BrokerID: s.peer,
		Prefix:   s.prefix,
		Router:   asked,
	})
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server := mqtt.New(&mqtt.Options{Logger: logger, InlineClient: true})
	server.Options.Capabilities.MaximumPacketSize = packetBytesMax
	peers := newPeers(peerToken)
	hook := newHook(server, fleet, peers, s.peer, s.patience)
	if err := errors.Join(
		server.AddHook(new(auth.AllowHook), nil), // An example: put your own in its place.
		server.AddHook(hook, nil),
		server.AddListener(listeners.NewTCP(listeners.Config{ID: "mqtt", Address: s.mqtt})),
	); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.peer)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- peers.serve(listener, hook.receive) }()
	if err := server.Serve(); err != nil {
		return err
	}
	fmt.Println("ready", s.mqtt)
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	// Clients first: their disconnections are reported while Kafka is still there.
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, server.Close(), peers.close(closing), fleet.Close(closing))
}
