package router

import (
	"sync"
	"time"
)

// cache keeps deliveries, by topic, for at most sizeMax bytes. What is told of a change while a delivery is being read
// makes that delivery one that is not kept.
type cache struct {
	sizeMax int
	mu      sync.RWMutex
	size    int
	kept    map[string]kept
	reading map[string]*reading
}

// kept is right while the table is the same and at the same epoch, and until its time has come.
type kept struct {
	delivery Delivery
	version  version
	until    time.Time // Zero: until told.
}

// reading is shared by everyone who reads the delivery of a topic.
type reading struct {
	readers int
	changes int
}

func newCache(sizeMax int) *cache {
	return &cache{sizeMax: sizeMax, kept: map[string]kept{}, reading: map[string]*reading{}}
}

func (c *cache) get(topic string, now version) (Delivery, bool) {
	c.mu.RLock()
	found, isKept := c.kept[topic]
	c.mu.RUnlock()
	if !isKept || found.version != now || !found.until.IsZero() && time.Now().After(found.until) {
		return Delivery{}, false
	}
	return found.delivery, true
}

// begin is called before anything is asked; what it returns is called with the delivery, or with nil.
func (c *cache) begin(topic string) func(*kept) {
	if c.sizeMax <= 0 {
		return func(*kept) {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	read := c.reading[topic]
	if read == nil {
		read = &reading{}
		c.reading[topic] = read
	}
	read.readers++
	changes := read.changes
	return func(answer *kept) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if read.readers--; read.readers == 0 {
			delete(c.reading, topic)
		}
		if answer != nil && read.changes == changes {
			c.put(topic, *answer)
		}
	}
}

func (c *cache) put(topic string, answer kept) {
	c.forget(topic)
	size := sizeOf(topic, answer.delivery)
	if size > c.sizeMax {
		return
	}
	for other := range c.kept { // Any will do: the order is random, and a look-up of a kept topic writes nothing.
		if c.size+size <= c.sizeMax {
			break
		}
		c.forget(other)
	}
	c.kept[topic] = answer
	c.size += size
}

func (c *cache) forget(topic string) {
	if old, isKept := c.kept[topic]; isKept {
		c.size -= sizeOf(topic, old.delivery)
		delete(c.kept, topic)
	}
}

// drop forgets a topic whose delivery has changed.
func (c *cache) drop(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(topic)
	if read := c.reading[topic]; read != nil {
		read.changes++
	}
}

// clear forgets everything.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.kept)
	c.size = 0
	for _, read := range c.reading {
		read.changes++
	}
}

func (c *cache) topics() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.kept)
}

// sizeOf is about what an entry takes in memory.
func sizeOf(topic string, delivery Delivery) int {
	const entry, each = 200, 32
	size := entry + 2*len(topic)
	for _, broker := range delivery.Brokers {
		size += each + len(broker)
	}
	return size
}
