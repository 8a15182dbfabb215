// Package pointers keeps the pointer table of a Foreshard fleet: on which shards each slice of the subscriptions is.
// It needs no Kafka; the reader that follows the topic is in the package above.
package pointers

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"foreshard.dev/client/keys"
)

// Modes of a pointer.
const (
	Single   = "SINGLE"
	Spread   = "SPREAD"   // All of the shards together hold the slice.
	Replicas = "REPLICAS" // Each one of the shards holds all of the slice.
	gone     = "GONE"
)

// Pointer says where a slice is.
type Pointer struct {
	Slice  string   `json:"slice" avro:"slice"`
	Mode   string   `json:"mode" avro:"mode"`
	Shards []string `json:"shards" avro:"shards"`
	Epoch  int64    `json:"epoch" avro:"epoch"`
}

// Shard says where a shard is, and in which state.
type Shard struct {
	ID       string `json:"shardId"`
	Instance string `json:"instanceId"`
	Address  string `json:"address"`
	State    string `json:"state"`
	// Loss is empty or NONE, unless the shard must not be asked: SILENT or LOST.
	Loss  string `json:"loss"`
	Epoch int64  `json:"epoch"`
}

// IsLost is true of a shard that must not be asked.
func (s Shard) IsLost() bool { return s.Loss != "" && s.Loss != "NONE" }

// Change names the change of the table that a record is part of.
type Change struct {
	Epoch   int64  `json:"epoch"`
	Index   int    `json:"index"`
	Count   int    `json:"count"`
	Term    int64  `json:"term"`
	Planner string `json:"planner"`
}

// Record is one record of the topic: a pointer or a shard.
type Record struct {
	Change  Change
	Pointer *Pointer
	Shard   *Shard
}

func (r *Record) key() string {
	if r.Pointer != nil {
		return "p:" + r.Pointer.Slice
	}
	return "s:" + r.Shard.ID
}

func (r *Record) epoch() int64 {
	if r.Pointer != nil {
		return r.Pointer.Epoch
	}
	return r.Shard.Epoch
}

// isSound is false for what no planner writes.
func (r *Record) isSound(key string) bool {
	if (r.Pointer == nil) == (r.Shard == nil) || r.key() != key || r.epoch() != r.Change.Epoch {
		return false
	}
	if r.Change.Index < 0 || r.Change.Index >= r.Change.Count {
		return false
	}
	if r.Pointer == nil {
		return true
	}
	_, isSlice := keys.ParseSlice(r.Pointer.Slice)
	return isSlice && (r.Pointer.Mode == gone || len(r.Pointer.Shards) > 0)
}

// Stop is one shard to be asked, with the slices that it is asked for.
type Stop struct {
	Shard  string
	Slices []string
	// Others are the shards that hold all of these slices too.
	Others []string
}

// Table is what a reader of the pointer topic knows. A change is applied as a whole; one that does not directly follow the
// table's epoch (the first load, or records lost to compaction) is held back until the end of the topic has been read.
//
// Anyone with write access can write to the topic, so what no planner can have written is refused, as by the TypeScript
// reader (state/pointer-table.ts, W1 to W4): records of an old planner or of none, epochs that no offsets back, and
// changes that leave a hash without an owner or with two, or name an unknown shard.
//
// Apply and Reached are called by one goroutine, everything else by any.
type Table struct {
	partitions int
	epoch      atomic.Int64
	position   atomic.Int64

	mu       sync.RWMutex // Guards what is applied.
	pointers map[string]*Pointer
	shards   map[string]Shard
	spreads  map[string]int // Filter -> number of its parts.
	parts    []partition

	// Of the reader alone: what was read and is not applied yet.
	pending map[string]*Record // nil: the key was removed.
	removed map[string]bool    // Slices and shards whose key was removed although no record said GONE.
	change  *change
	writer  Change // The planner of the newest record.
	holding bool
	next    int64 // The offset after the last record read.
	missing int64 // Offsets before it that have not backed an epoch yet.
	refused atomic.Int64
}

type partition struct {
	hashes []map[uint32]*Pointer // By number of bits, then by their value.
	groups map[string]*Pointer   // By prefix.
}

// change is the newest change: not applied yet.
type change struct {
	epoch int64
	count int
	seen  map[int]bool
}

func (c *change) isWhole() bool { return c == nil || len(c.seen) == c.count }

// NewTable is an empty table for a fleet with this many partitions of subscriptions.
func NewTable(partitions int) *Table {
	return &Table{
		partitions: partitions,
		pointers:   map[string]*Pointer{},
		shards:     map[string]Shard{},
		spreads:    map[string]int{},
		parts:      make([]partition, partitions),
		pending:    map[string]*Record{},
		removed:    map[string]bool{},
		holding:    true,
	}
}

// Partitions of the subscriptions topic.
func (t *Table) Partitions() int { return t.partitions }

// Epoch of the last change applied; 0 before the first. It is sent with each question.
func (t *Table) Epoch() int64 { return t.epoch.Load() }

// Position is the offset below which every record is in the table; it is sent with each heartbeat.
func (t *Table) Position() int64 { return t.position.Load() }

// Apply reads one record, in the order of the topic; nil is the removal of its key.
func (t *Table) Apply(key string, record *Record, offset int64) {
	isNew := offset >= t.next
	if isNew {
		t.missing += offset - t.next
		t.next = offset + 1
	}
	if record == nil {
		t.remove(key)
	} else if record.isSound(key) && t.isNext(record.Change, offset) {
		t.take(key, record)
	} else if isNew { // One that is read again was judged before.
		t.refused.Add(1)
	}
	switch {
	case len(t.pending) == 0 && len(t.removed) == 0:
		t.position.Store(max(t.position.Load(), offset+1))
	case !t.holding && t.change != nil && t.change.isWhole():
		t.commit(offset + 1)
	}
}

// Refused counts the records that were refused.
func (t *Table) Refused() int64 { return t.refused.Load() }

// Reached says that everything below position has been read, and whether that was the end of the topic. A change is
// written in one transaction: at the end none is half there, and what is missing of one was replaced by later records.
func (t *Table) Reached(position int64, isEnd bool) {
	if !isEnd && len(t.pending)+len(t.removed) > 0 {
		return
	}
	t.commit(position)
	if isEnd {
		t.holding = false
	}
}

// isNext judges by term first, then by epoch.
func (t *Table) isNext(c Change, offset int64) bool {
	const termStepMax = 1_000_000_000
	if c.Term < t.writer.Term || c.Term > t.writer.Term+termStepMax {
		return false
	}
	if c.Term > 0 && c.Term == t.writer.Term && c.Planner != t.writer.Planner {
		return false
	}
	newest := t.Epoch()
	if t.change != nil {
		newest = t.change.epoch
	}
	switch {
	case c.Epoch <= newest && c.Term > t.writer.Term:
		return true // Another planner continues, perhaps below what the one before it had begun.
	case c.Epoch < newest || c.Epoch == newest && t.change == nil:
		return false
	case c.Epoch == newest:
		return c.Count == t.change.count && !t.change.seen[c.Index]
	}
	return c.Epoch-newest <= t.missing+1 || offset == 0
}

func (t *Table) take(key string, record *Record) {
	c := record.Change
	newest := t.Epoch()
	if t.change != nil {
		newest = t.change.epoch
	}
	if t.change == nil || c.Epoch != newest || c.Term > t.writer.Term {
		if !t.change.isWhole() || c.Epoch != newest+1 {
			t.holding = true
		}
		t.change = &change{epoch: c.Epoch, count: c.Count, seen: map[int]bool{}}
		for key, other := range t.pending {
			if other != nil && other.epoch() >= c.Epoch {
				delete(t.pending, key)
			}
		}
	}
	t.missing = 0
	if c.Term > 0 {
		t.writer = c
	}
	t.change.seen[c.Index] = true
	t.pending[key] = record
	delete(t.removed, key)
}

func (t *Table) remove(key string) {
	if record, isPending := t.pending[key]; isPending {
		if record != nil && !record.isGone() {
			t.removed[key] = true
		} else {
			t.pending[key] = nil
		}
		return
	}
	if len(key) < 2 {
		return
	}
	_, isPointer := t.pointers[key[2:]]
	_, isShard := t.shards[key[2:]]
	if key[0] == 'p' && isPointer || key[0] == 's' && isShard {
		t.removed[key] = true
	}
}

func (r *Record) isGone() bool {
	return r.Pointer != nil && r.Pointer.Mode == gone || r.Shard != nil && r.Shard.State == gone
}

func (t *Table) commit(position int64) {
	if !t.change.isWhole() {
		t.holding = true
	}
	t.judgeRemovals()
	t.judgeEntries()
	t.mu.Lock()
	for key, record := range t.pending {
		if record == nil || record.isGone() {
			t.forget(key)
		} else if record.Shard != nil {
			t.shards[record.Shard.ID] = *record.Shard
		} else {
			t.put(record.Pointer)
		}
	}
	if t.change != nil {
		t.epoch.Store(t.change.epoch)
	}
	t.mu.Unlock()
	clear(t.pending)
	clear(t.removed)
	t.change = nil
	t.position.Store(max(t.position.Load(), position))
}

func (t *Table) put(pointer *Pointer) {
	_, isKnown := t.pointers[pointer.Slice]
	t.pointers[pointer.Slice] = pointer
	slice, _ := keys.ParseSlice(pointer.Slice)
	switch slice.Kind {
	case keys.Spread:
		if !isKnown {
			t.spreads[slice.Filter] = slice.Of
		}
	case keys.Hash, keys.Group:
		if slice.Partition >= t.partitions {
			return
		}
		part := &t.parts[slice.Partition]
		if slice.Kind == keys.Group {
			if part.groups == nil {
				part.groups = map[string]*Pointer{}
			}
			part.groups[slice.Prefix] = pointer
			return
		}
		for len(part.hashes) <= int(slice.Bits) {
			part.hashes = append(part.hashes, map[uint32]*Pointer{})
		}
		part.hashes[slice.Bits][slice.Value] = pointer
	}
}

func (t *Table) forget(key string) {
	if key[0] == 's' {
		delete(t.shards, key[2:])
		return
	}
	if _, isKnown := t.pointers[key[2:]]; !isKnown {
		return
	}
	delete(t.pointers, key[2:])
	slice, _ := keys.ParseSlice(key[2:])
	switch slice.Kind {
	case keys.Spread:
		if t.spreads[slice.Filter] == slice.Of && !t.hasPart(slice) {
			delete(t.spreads, slice.Filter)
		}
	case keys.Hash:
		if slice.Partition < t.partitions {
			delete(t.parts[slice.Partition].hashes[slice.Bits], slice.Value)
		}
	case keys.Group:
		if slice.Partition < t.partitions {
			delete(t.parts[slice.Partition].groups, slice.Prefix)
		}
	}
}

func (t *Table) hasPart(slice keys.Slice) bool {
	for part := range slice.Of {
		if _, found := t.pointers[spreadKey(slice.Filter, part, slice.Of)]; found {
			return true
		}
	}
	return false
}

func hashKey(partition int, bits string) string { return "p:c/" + strconv.Itoa(partition) + "/" + bits }

func spreadKey(filter string, part, of int) string {
	return "s/" + strconv.Itoa(part) + "of" + strconv.Itoa(of) + "/" + filter
}

// Shard is the entry of a shard.
func (t *Table) Shard(id string) (Shard, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	shard, found := t.shards[id]
	return shard, found
}

// Pointers are those of all slices, in no order.
func (t *Table) Pointers() []Pointer {
	t.mu.RLock()
	defer t.mu.RUnlock()
	found := make([]Pointer, 0, len(t.pointers))
	for _, pointer := range t.pointers {
		found = append(found, *pointer)
	}
	return found
}

// Shards are the entries of all shards, in no order.
func (t *Table) Shards() []Shard {
	t.mu.RLock()
	defer t.mu.RUnlock()
	found := make([]Shard, 0, len(t.shards))
	for _, shard := range t.shards {
		found = append(found, shard)
	}
	return found
}

// Resolve tells where this client's subscription of this valid filter is; false when no slice covers it.
func (t *Table) Resolve(filter, clientID string) (Pointer, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var found *Pointer
	if place := keys.PlaceOf(filter); place.Trie {
		found = t.parts[keys.PartitionOf(place.RoutingKey, t.partitions)].groupOf(place.Prefix)
	} else {
		found = t.concrete(filter, clientID)
	}
	if found == nil {
		return Pointer{}, false
	}
	return *found, true
}

// concrete finds the most specific slice: a part of a spread filter, the filter's own, the longest hash prefix.
func (t *Table) concrete(filter, clientID string) *Pointer {
	if of := t.spreads[filter]; of > 0 {
		return t.pointers[spreadKey(filter, int(keys.FilterHash(clientID)%uint32(of)), of)]
	}
	if pinned, found := t.pointers["t/"+filter]; found {
		return pinned
	}
	hash, hashes := keys.FilterHash(filter), t.parts[keys.PartitionOf(filter, t.partitions)].hashes
	for bits := len(hashes) - 1; bits >= 0; bits-- {
		if pointer, found := hashes[bits][uint32(uint64(hash)>>(32-bits))]; found {
			return pointer
		}
	}
	return nil
}

// groupOf finds the longest prefix that has a slice of its own.
func (p *partition) groupOf(prefix string) *Pointer {
	for prefix != "" && len(p.groups) > 1 {
		if pointer, found := p.groups[prefix]; found {
			return pointer
		}
		if len(prefix) < 2 {
			break // There is nothing before the first level, also when that level is empty.
		}
		prefix = prefix[:strings.LastIndexByte(prefix[:len(prefix)-1], '/')+1]
	}
	return p.groups[""]
}

// Route tells which shards together hold every subscription that matches a PUBLISH to the topic. turn chooses among
// replicas.
func (t *Table) Route(topic string, turn uint64) []Stop {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var stops []Stop
	var replicated []*Pointer
	at := func(shard string) *Stop {
		for i := range stops {
			if stops[i].Shard == shard {
				return &stops[i]
			}
		}
		return nil
	}
	ask := func(shard string, pointer *Pointer) {
		var others []string
		if pointer.Mode == Replicas {
			for _, other := range pointer.Shards {
				if other != shard {
					others = append(others, other)
				}
			}
		}
		if stop := at(shard); stop != nil {
			stop.Slices, stop.Others = append(stop.Slices, pointer.Slice), common(stop.Others, others)
		} else {
			stops = append(stops, Stop{Shard: shard, Slices: []string{pointer.Slice}, Others: others})
		}
	}
	t.eachOf(topic, func(pointer *Pointer) {
		if pointer.Mode == Replicas {
			replicated = append(replicated, pointer)
			return
		}
		for _, shard := range pointer.Shards {
			ask(shard, pointer)
		}
	})
	// Of replicas one that is asked anyway: a PUBLISH costs as much as the number of shards that it asks.
	for _, pointer := range replicated {
		chosen := pointer.Shards[turn%uint64(len(pointer.Shards))]
		for _, shard := range pointer.Shards {
			if at(shard) != nil {
				chosen = shard
				break
			}
		}
		ask(chosen, pointer)
	}
	return stops
}

func common(some, others []string) []string {
	var both []string
	for _, each := range some {
		for _, other := range others {
			if each == other {
				both = append(both, each)
			}
		}
	}
	return both
}

// eachOf calls found for every slice that can hold a filter matching the topic.
func (t *Table) eachOf(topic string, found func(*Pointer)) {
	give := func(pointer *Pointer) {
		if pointer != nil {
			found(pointer)
		}
	}
	if of := t.spreads[topic]; of > 0 {
		for part := range of {
			give(t.pointers[spreadKey(topic, part, of)])
		}
	} else {
		give(t.concrete(topic, ""))
	}
	root := keys.PartitionOf(keys.RootKey, t.partitions)
	give(t.parts[root].groups[""])
	first, _, _ := strings.Cut(topic, "/")
	home := keys.PartitionOf(first, t.partitions)
	groups := t.parts[home].groups
	if home != root {
		give(groups[""])
	}
	if len(groups) < 2 {
		return // Nothing is carved out: the common case.
	}
	levels := topic + "/" // a/b/# matches a/b, so the whole topic counts too.
	for end := 0; end < len(levels); end++ {
		if levels[end] == '/' {
			give(groups[levels[:end+1]])
		}
	}
}
