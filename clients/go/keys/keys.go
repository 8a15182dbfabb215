// Package keys names and hashes topic filters, partitions and slices, as every part of a Foreshard fleet does. Its
// results never change: they are stored in topics and stores.
//
// A slice is a set of filters that move together:
//
//	c/<partition>/<bits>       concrete filters of a partition whose second hash begins with bits
//	t/<filter>                 one pinned concrete filter
//	s/<i>of<n>/<filter>        the i-th part, by client, of a filter that is spread over n slices
//	w/<partition>/<levels/>    filters in tries whose literal prefix begins with levels
//
// A filter is kept in a trie when it has a wildcard or is shared; every other filter is concrete.
package keys

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Format is the version of these rules, which a shard server is told.
const Format = 1

// RootKey is the record key of a trie filter without a literal first level.
const RootKey = "#"

const shared = "$share/"

// PartitionOf is the partition of a record key: Kafka's default, murmur2 without its sign.
func PartitionOf(key string, partitions int) int {
	return int(Murmur2(key)&0x7fffffff) % partitions
}

// Murmur2 is the hash that Kafka's Java clients use for keys.
func Murmur2(key string) uint32 {
	const m = 0x5bd1e995
	h := uint32(0x9747b28c) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// FilterHash is the second hash, of a filter or a client id: FNV-1a over UTF-16 code units, finished as murmur3 is.
func FilterHash(text string) uint32 {
	h := uint32(0x811c9dc5)
	for _, r := range text {
		if r > 0xffff {
			r -= 0x10000
			h = (h ^ uint32(0xd800+r>>10)) * 0x01000193
			r = 0xdc00 + r&0x3ff
		}
		h = (h ^ uint32(r)) * 0x01000193
	}
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// Place says where a valid filter belongs.
type Place struct {
	// Trie is true when the filter is kept in a trie.
	Trie bool
	// Prefix: the literal levels of a trie filter that choose its group, each followed by a slash.
	Prefix string
	// RoutingKey decides the partition: the filter itself, or the first literal level of a trie filter.
	RoutingKey string
}

// PlaceOf is the place of a valid filter.
func PlaceOf(filter string) Place {
	inner, isShared := strings.CutPrefix(filter, shared)
	if isShared {
		_, inner, _ = strings.Cut(inner, "/")
	}
	wildcard := strings.IndexAny(inner, "+#")
	if wildcard < 0 && !isShared {
		return Place{RoutingKey: filter}
	}
	if wildcard < 0 { // The last level takes the place of the wildcard.
		wildcard = strings.LastIndexByte(inner, '/') + 1
	}
	place := Place{Trie: true, Prefix: inner[:wildcard], RoutingKey: RootKey}
	if wildcard > 0 {
		place.RoutingKey, _, _ = strings.Cut(inner, "/")
	}
	return place
}

// IsShared is true of a shared subscription.
func IsShared(filter string) bool { return strings.HasPrefix(filter, shared) }

// Kind is the kind of a slice.
type Kind byte

// The kinds of slices.
const (
	Hash   Kind = 'c'
	Pin    Kind = 't'
	Spread Kind = 's'
	Group  Kind = 'w'
)

// Slice is a slice key taken apart.
type Slice struct {
	Kind Kind
	// Partition of a Hash or a Group.
	Partition int
	// Bits of a Hash: its length and, as a number, its value.
	Bits, Value uint32
	// Filter of a Pin or a Spread.
	Filter string
	// Part of a Spread, and how many there are.
	Part, Of int
	// Prefix of a Group.
	Prefix string
}

// ParseSlice takes a slice key apart; false when it is not one.
func ParseSlice(key string) (Slice, bool) {
	if len(key) < 2 || key[1] != '/' {
		return Slice{}, false
	}
	slice, rest := Slice{Kind: Kind(key[0])}, key[2:]
	if slice.Kind == Pin {
		slice.Filter = rest
		return slice, true
	}
	middle, rest, found := strings.Cut(rest, "/")
	if !found {
		return Slice{}, false
	}
	switch slice.Kind {
	case Spread:
		part, of, _ := strings.Cut(middle, "of")
		var isPart, isOf bool
		slice.Part, isPart = smallNumber(part)
		slice.Of, isOf = smallNumber(of)
		slice.Filter = rest
		return slice, isPart && isOf && slice.Part < slice.Of
	case Hash:
		if len(rest) > 32 || strings.Trim(rest, "01") != "" {
			return Slice{}, false
		}
		value, _ := strconv.ParseUint("0"+rest, 2, 33)
		slice.Bits, slice.Value = uint32(len(rest)), uint32(value)
	case Group:
		if rest != "" && !strings.HasSuffix(rest, "/") {
			return Slice{}, false
		}
		slice.Prefix = rest
	default:
		return Slice{}, false
	}
	slice.Partition, found = smallNumber(middle)
	return slice, found
}

// smallNumber reads one to six digits.
func smallNumber(text string) (int, bool) {
	if len(text) > 6 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	number, err := strconv.Atoi(text)
	return number, err == nil
}

// Limits of MQTT, and of a fleet.
const (
	bytesMax  = 65_535
	levelsMax = 128
)

// CheckFilter says why a topic filter is not valid.
func CheckFilter(filter string) error {
	inner, isShared := strings.CutPrefix(filter, shared)
	if isShared {
		group, rest, found := strings.Cut(inner, "/")
		if !found || group == "" {
			return fmt.Errorf("a shared subscription needs a group, and a filter after it")
		}
		if strings.ContainsAny(group, "+#") {
			return fmt.Errorf("the group of a shared subscription must not contain + or #")
		}
		inner = rest
	}
	if err := checkText(filter, inner); err != nil {
		return err
	}
	levels := strings.Split(inner, "/")
	if len(levels) > levelsMax {
		return fmt.Errorf("a topic filter has at most %d levels", levelsMax)
	}
	for i, level := range levels {
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return fmt.Errorf("+ and # must stand alone in their level")
		}
		if level == "#" && i+1 < len(levels) {
			return fmt.Errorf("# must be the last level")
		}
	}
	return nil
}

// CheckTopic says why a message cannot be published to the topic.
func CheckTopic(topic string) error {
	if strings.ContainsAny(topic, "+#") {
		return fmt.Errorf("a topic to publish to must not contain + or #")
	}
	return checkText(topic, topic)
}

func checkText(text, inner string) error {
	switch {
	case inner == "":
		return fmt.Errorf("a topic must not be empty")
	case len(text) > bytesMax:
		return fmt.Errorf("a topic has at most %d bytes", bytesMax)
	case strings.IndexByte(text, 0) >= 0:
		return fmt.Errorf("a topic must not contain U+0000")
	case !utf8.ValidString(text):
		return fmt.Errorf("a topic must be UTF-8")
	}
	return nil
}
