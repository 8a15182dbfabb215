package foreshard_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	foreshard "foreshard.dev/client"
	"foreshard.dev/client/events"
	"foreshard.dev/client/router"
)

// A broker reports a subscription, and asks who receives a message.
func ExampleJoin() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fleet, err := foreshard.Join(ctx, foreshard.Options{
		Brokers:  []string{"localhost:9092"},
		Registry: "http://localhost:8081/apis/ccompat/v7",
		BrokerID: "broker-1",
		Router:   router.Options{Servers: []string{"http://localhost:7070"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer fleet.Close(ctx)

	subscription := events.Subscription{Filter: "home/+", ClientID: "c1", QoS: 1}
	if err := fleet.Events.Subscribe(ctx, subscription); err != nil {
		log.Fatal(err) // It is durable otherwise: a SUBACK may be sent.
	}
	delivery, err := fleet.Router.Deliver(ctx, "home/kitchen")
	switch {
	case errors.Is(err, router.ErrUnavailable):
		log.Fatal(err) // Do not acknowledge the message; its publisher sends it again.
	case err != nil:
		log.Fatal(err)
	}
	for _, broker := range delivery.Brokers {
		fmt.Println("send it to", broker, "which has the clients")
	}
	for _, member := range delivery.Members {
		fmt.Println("send it to", member.BrokerID, "for", member.ClientID, "of", member.Filter)
	}
}
