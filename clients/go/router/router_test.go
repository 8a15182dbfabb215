package router

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"foreshard.dev/client/pointers"
)

func open(t *testing.T, from Tables, options Options) *Router {
	t.Helper()
	if options.Timeout == 0 {
		options.Timeout = 30 * time.Second
	}
	made, err := New(from, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

func deliver(t *testing.T, r *Router, topic string) Delivery {
	t.Helper()
	found, err := r.Deliver(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found.Brokers)
	return found
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about: %s", what)
		}
	}
}

// one shard has everything.
func one(s *server) *pointers.Table {
	return table(3, map[string]string{"all": s.address()}, on("c/0/", "all"), on("w/0/", "all"))
}

func TestDeliverAsksEveryShardOfTheRoute(t *testing.T) {
	kv := newServer(t, func(words []string) string {
		if want := []string{"FS.MBROKERS", "kv", "kv-1", "3", "a/b", "c/0/"}; !reflect.DeepEqual(words, want) {
			t.Errorf("%q is asked, not %q", words, want)
		}
		return hears(-1, "b1", "b2")
	})
	trie := newServer(t, func(words []string) string {
		return fmt.Sprintf("*3\r\n%s*1\r\n%s:-1\r\n", list("b2", ""), row("$share/g/a/b", "m", "b3", 1))
	})
	shards := map[string]string{"kv": kv.address(), "trie": trie.address()}
	router := open(t, &tables{current: table(3, shards, on("c/0/", "kv"), on("w/0/", "trie"))}, Options{Fleet: "f."})
	for asked := 1; asked <= 2; asked++ { // With a share group nothing is kept.
		found := deliver(t, router, "a/b")
		want := Delivery{
			Brokers:    []string{"b1", "b2"},
			HasOffline: true,
			Members: []Subscriber{{
				Filter: "$share/g/a/b", ClientID: "m", BrokerID: "b3", QoS: 1,
				RetainAsPublished: true, RetainHandling: 2, SubscriptionIdentifier: 7,
			}},
		}
		if !reflect.DeepEqual(found, want) {
			t.Errorf("%+v, not %+v", found, want)
		}
		if kv.questions() != asked {
			t.Errorf("%d questions, not %d", kv.questions(), asked)
		}
	}
	if kv.count("FS.FLEET", "1", "1", "f.") != 1 || kv.count("CLIENT", "TRACKING", "ON") != 1 || kv.count("AUTH") != 0 {
		t.Errorf("a connection begins with %q", kv.commands)
	}
}

func TestADeliveryIsKeptUntilTheShardTells(t *testing.T) {
	shard := newServer(t, func([]string) string { return hears(-1, "b1") })
	router := open(t, &tables{current: one(shard)}, Options{})
	for key, isAbout := range map[string]bool{"all a": true, "all": true, "all b": false} {
		deliver(t, router, "a")
		asked := shard.questions()
		if deliver(t, router, "a"); shard.questions() != asked {
			t.Errorf("it was asked again, %d times", shard.questions())
		}
		if deliver(t, router, "other"); router.CachedTopics() != 2 {
			t.Errorf("%d topics are kept", router.CachedTopics())
		}
		if shard.push(key); !isAbout {
			shard.push("all other") // After the one before.
		}
		until(t, "it is told", func() bool { return router.CachedTopics() < 2 })
		asked = shard.questions()
		if deliver(t, router, "a"); (shard.questions() > asked) != isAbout {
			t.Errorf("whether it was asked again after %q", key)
		}
	}
}

func TestADeliveryThatChangedUnderWayIsNotKept(t *testing.T) {
	var shard *server
	var changes atomic.Bool
	shard = newServer(t, func([]string) string {
		if changes.Load() { // The push follows the answer that it is about.
			return hears(-1, "b1") + ">2\r\n$10\r\ninvalidate\r\n" + list("all a")
		}
		return hears(-1, "b1")
	})
	router := open(t, &tables{current: one(shard)}, Options{})
	changes.Store(true)
	for range 200 {
		deliver(t, router, "a")
		deliver(t, router, "b") // Its answer follows the push.
		router.cache.mu.Lock()
		_, isKept := router.cache.kept["a"]
		router.cache.mu.Unlock()
		if isKept {
			t.Fatal("it is kept although it was invalidated")
		}
		router.cache.drop("b")
	}
	end := router.cache.begin("c")
	router.cache.drop("c")
	if end(&kept{}); router.CachedTopics() != 0 {
		t.Error("an answer from before a change is kept")
	}
}

func TestALostConnectionEmptiesTheCache(t *testing.T) {
	shard := newServer(t, func([]string) string { return hears(-1, "b1") })
	router := open(t, &tables{current: one(shard)}, Options{Token: "secret", Servers: []string{shard.address()}})
	deliver(t, router, "a")
	shard.cut()
	until(t, "the cache is empty", func() bool { return router.CachedTopics() == 0 })
	until(t, "it is connected again", func() bool {
		_, err := router.Deliver(t.Context(), "a")
		return err == nil
	})
	if shard.count("FS.FLEET") != 2 || shard.count("AUTH", "secret") != 2 || shard.count("CLIENT", "TRACKING", "ON") != 2 {
		t.Errorf("the second connection begins with %q", shard.commands)
	}
}

func TestAServerThatDoesNotAnswerCountsAsLost(t *testing.T) {
	block := make(chan struct{})
	shard := newServer(t, func(words []string) string {
		if words[4] == "blocked" {
			<-block // The server's only loop: it answers no ping either.
		}
		return hears(-1, "b1")
	})
	t.Cleanup(func() { close(block) })
	router := open(t, &tables{current: one(shard)}, Options{})
	deliver(t, router, "a")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := router.Deliver(short, "blocked"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, not ErrUnavailable", err)
	}
	until(t, "the cache is empty", func() bool { return router.CachedTopics() == 0 })
}

func TestADeliveryIsKeptForItsTime(t *testing.T) {
	for keepMs, isKept := range map[int]bool{0: false, 60_000: true, 1: false} {
		shard := newServer(t, func([]string) string { return hears(keepMs, "b1") })
		router := open(t, &tables{current: one(shard)}, Options{})
		deliver(t, router, "a")
		time.Sleep(2 * time.Millisecond)
		if deliver(t, router, "a"); (shard.questions() == 1) != isKept {
			t.Errorf("with %d ms it was asked %d times", keepMs, shard.questions())
		}
	}
}

func TestANewPointerTableEmptiesTheCache(t *testing.T) {
	shard := newServer(t, func([]string) string { return hears(-1, "b1") })
	from := &tables{current: one(shard)}
	router := open(t, from, Options{})
	deliver(t, router, "a")
	from.current = table(4, map[string]string{"all": shard.address()}, on("c/0/", "all"), on("w/0/", "all"))
	if deliver(t, router, "a"); shard.questions() != 2 {
		t.Errorf("it was asked %d times", shard.questions())
	}
}

func TestMovedIsAskedAgainAlongANewerTable(t *testing.T) {
	for _, refusal := range []string{"-MOVED c/0/ 9\r\n", "-SHARD_UNKNOWN there is no shard all\r\n"} {
		old := newServer(t, func([]string) string { return refusal })
		shard := newServer(t, func(words []string) string {
			if words[3] != "9" {
				t.Errorf("it is asked with epoch %s", words[3])
			}
			return hears(-1, "b1")
		})
		newer := table(9, map[string]string{"all": shard.address()}, on("c/0/", "all"), on("w/0/", "all"))
		from := &tables{current: one(old), next: []*pointers.Table{newer}}
		if found := deliver(t, open(t, from, Options{}), "a"); !slices.Equal(found.Brokers, []string{"b1"}) {
			t.Errorf("%+v", found)
		}
		want := int64(8)
		if strings.HasPrefix(refusal, "-SHARD") {
			want = 3
		}
		if !slices.Equal(from.waited, []int64{want}) {
			t.Errorf("it has waited for tables above %v", from.waited)
		}
	}
}

func TestMovedForEverIsStale(t *testing.T) {
	shard := newServer(t, func([]string) string { return "-MOVED c/0/ 9\r\n" })
	from := &tables{current: one(shard)}
	if _, err := open(t, from, Options{}).Deliver(t.Context(), "a"); !errors.Is(err, ErrStale) {
		t.Errorf("%v, not ErrStale", err)
	}
	if shard.questions() != 3 || len(from.waited) != 2 {
		t.Errorf("%d questions, %d times waited", shard.questions(), len(from.waited))
	}
}

func TestAReplicaIsAskedInsteadOfAShardThatIsAway(t *testing.T) {
	away := newServer(t, func([]string) string { return "-STORE_UNAVAILABLE later\r\n" })
	shard := newServer(t, func([]string) string { return hears(-1, "b1") })
	shards := map[string]string{"away": away.address(), "here": shard.address(), "trie": shard.address()}
	current := table(3, shards, on("c/0/", "away", "here"), on("w/0/", "trie"))
	router := open(t, &tables{current: current}, Options{CacheBytes: -1})
	for range 4 {
		deliver(t, router, "a")
	}
	if away.questions() != 2 {
		t.Errorf("the one that is away was asked %d times of 4", away.questions())
	}
}

func TestAwayFailsOrIsPartial(t *testing.T) {
	shard := newServer(t, func([]string) string { return hears(-1, "b1") })
	gone := newServer(t, nil)
	gone.stop()
	shards := map[string]string{"kv": shard.address(), "trie": gone.address()}
	current := &tables{current: table(3, shards, on("c/0/", "kv"), on("w/0/", "trie"))}
	if _, err := open(t, current, Options{}).Deliver(t.Context(), "a"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, not ErrUnavailable", err)
	}
	partial := open(t, current, Options{Away: Partial})
	for asked := 1; asked <= 2; asked++ {
		found := deliver(t, partial, "a")
		if !slices.Equal(found.Brokers, []string{"b1"}) || !slices.Equal(found.Missing, []string{"trie"}) {
			t.Errorf("%+v", found)
		}
		if shard.questions() != 1+asked {
			t.Error("a part is kept")
		}
	}
}

func TestAShardThatIsLostIsNotAsked(t *testing.T) {
	shard := newServer(t, func([]string) string { return hears(-1, "b1") })
	current := pointers.NewTable(1)
	for i, record := range []*pointers.Record{
		{Shard: &pointers.Shard{ID: "all", Address: shard.address(), State: "READY", Loss: "SILENT", Epoch: 1}},
		{Pointer: &pointers.Pointer{Slice: "c/0/", Mode: pointers.Single, Shards: []string{"all"}, Epoch: 1}},
	} {
		record.Change = pointers.Change{Epoch: 1, Index: i, Count: 2}
		current.Apply([]string{"s:all", "p:c/0/"}[i], record, int64(i))
	}
	current.Reached(2, true)
	if _, err := open(t, &tables{current: current}, Options{}).Deliver(t.Context(), "a"); !errors.Is(err, ErrLost) {
		t.Errorf("%v, not ErrLost", err)
	}
	if shard.questions() != 0 {
		t.Error("it was asked")
	}
}

func TestOnlyNamedServersAreAsked(t *testing.T) {
	foreign := newServer(t, func([]string) string { return hears(-1, "foreign") })
	named := newServer(t, func([]string) string { return "-SHARD_UNKNOWN there is no shard all\r\n" })
	router := open(t, &tables{current: one(foreign)}, Options{Servers: []string{named.address(), "127.0.0.1:1"}})
	if _, err := router.Deliver(t.Context(), "a"); !errors.Is(err, ErrUnavailable) || foreign.questions() > 0 {
		t.Errorf("%v, %d questions", err, foreign.questions())
	}
	if _, err := New(&tables{}, Options{Token: "secret"}); err == nil {
		t.Error("a token is sent to whom the table names")
	}
}

func TestAShardIsOnTheServerThatAnswersForIt(t *testing.T) {
	var isThere atomic.Bool
	answers := func(whether bool) func([]string) string {
		return func([]string) string {
			if isThere.Load() == whether {
				return hears(0, "b1")
			}
			return "-SHARD_UNKNOWN there is no shard all\r\n"
		}
	}
	here, there := newServer(t, answers(false)), newServer(t, answers(true))
	// The table has an address that only Foreshard itself can use.
	current := table(3, map[string]string{"all": "shards.internal:7070"}, on("c/0/", "all"), on("w/0/", "all"))
	servers := []string{"http://" + here.address(), there.address()}
	router := open(t, &tables{current: current}, Options{Servers: servers, Token: "secret"})
	for range 3 {
		deliver(t, router, "a")
	}
	until(t, "both were asked once", func() bool { return there.questions() == 1 })
	if here.questions() != 3 {
		t.Errorf("%d questions", here.questions())
	}
	isThere.Store(true) // The shard is on the other one now.
	for range 3 {
		deliver(t, router, "a")
	}
	until(t, "the other is asked", func() bool { return there.questions() == 4 })
	until(t, "the first one was asked once alone and once with the other", func() bool { return here.questions() == 5 })
}

func TestRefusals(t *testing.T) {
	shard := newServer(t, func([]string) string { return "-FLEET_MISMATCH it is another fleet's\r\n" })
	router := open(t, &tables{current: one(shard)}, Options{})
	_, err := router.Deliver(t.Context(), "a")
	var refused *ShardError
	if !errors.As(err, &refused) || refused.Code != "FLEET_MISMATCH" || !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
	if _, err := router.Deliver(t.Context(), "a/+"); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v, not ErrInvalid", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := router.Deliver(ended, "a"); err == nil {
		t.Error("a look-up outlives its context")
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	shard := newServer(t, func([]string) string { return hears(-1, "b1") })
	router := open(t, &tables{current: one(shard)}, Options{CacheBytes: 10_000})
	for i := range 200 {
		deliver(t, router, fmt.Sprintf("topic/%d", i))
		if router.cache.size > 10_000 {
			t.Fatalf("%d bytes", router.cache.size)
		}
	}
	if kept := router.CachedTopics(); kept < 20 || kept > 50 {
		t.Errorf("%d topics are kept", kept)
	}
}

func TestManyAskAtTheSameTime(t *testing.T) {
	shard := newServer(t, func(words []string) string {
		if strings.HasPrefix(words[4], "moved") {
			return "-MOVED c/0/ 9\r\n"
		}
		return hears(0, "broker of "+words[4])
	})
	router := open(t, &tables{current: one(shard)}, Options{})
	failed := make(chan error, 1_000)
	for i := range cap(failed) {
		go func() {
			topic := fmt.Sprintf("topic/%d", i)
			if i%100 == 0 {
				_, err := router.Deliver(t.Context(), "moved/"+topic)
				if !errors.Is(err, ErrStale) {
					failed <- fmt.Errorf("%v, not ErrStale", err)
					return
				}
			}
			found, err := router.Deliver(t.Context(), topic)
			if err == nil && !slices.Equal(found.Brokers, []string{"broker of " + topic}) {
				err = fmt.Errorf("%s is answered with %v", topic, found.Brokers)
			}
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

func TestSubscribersAreEachOnce(t *testing.T) {
	shard := newServer(t, func(words []string) string {
		rows := row("a", "c1", "b1", 1) + row("a", "c2", "", 2) + row("a", "c1", "b1", 1)
		return "*3\r\n" + rows
	})
	found, err := open(t, &tables{current: one(shard)}, Options{}).Subscribers(t.Context(), "a")
	if err != nil || len(found) != 2 || found[1].ClientID != "c2" || found[1].QoS != 2 {
		t.Errorf("%+v, %v", found, err)
	}
}

func BenchmarkKept(b *testing.B) {
	cache := newCache(1 << 20)
	at := version{epoch: 1}
	cache.put("a", kept{delivery: Delivery{Brokers: []string{"b1"}}, version: at})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, found := cache.get("a", at); !found {
				b.Fatal("it is not kept")
			}
		}
	})
}
