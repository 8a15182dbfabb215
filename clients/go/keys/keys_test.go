package keys

import (
	"strings"
	"testing"
)

func TestMurmur2IsKafkas(t *testing.T) {
	// The values that Kafka's own tests assert (UtilsTest.testMurmur2).
	for text, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if found := int32(Murmur2(text)); found != hash {
			t.Errorf("murmur2 of %q is %d, not %d", text, found, hash)
		}
	}
	if PartitionOf("21", 16) != int((-973932308&0x7fffffff)%16) {
		t.Error("a partition is the hash without its sign")
	}
}

func TestFilterHashNeverChanges(t *testing.T) {
	for text, hash := range map[string]uint32{
		"":                   2872998923,
		"a":                  444641715,
		"plant/line-1/speed": 2226463307,
		"über/温度":            434029535,
	} {
		if found := FilterHash(text); found != hash {
			t.Errorf("the second hash of %q is %d, not %d", text, found, hash)
		}
	}
}

func TestPlaceOf(t *testing.T) {
	for filter, place := range map[string]Place{
		"a/b":              {RoutingKey: "a/b"},
		"a/b/+/c":          {Trie: true, Prefix: "a/b/", RoutingKey: "a"},
		"a/#":              {Trie: true, Prefix: "a/", RoutingKey: "a"},
		"#":                {Trie: true, RoutingKey: RootKey},
		"+/a":              {Trie: true, RoutingKey: RootKey},
		"/+":               {Trie: true, Prefix: "/", RoutingKey: ""},
		"$share/g/a/b":     {Trie: true, Prefix: "a/", RoutingKey: "a"},
		"$share/g/a":       {Trie: true, RoutingKey: RootKey},
		"$share/g/a/+/c":   {Trie: true, Prefix: "a/", RoutingKey: "a"},
		"$share/g/$SYS/up": {Trie: true, Prefix: "$SYS/", RoutingKey: "$SYS"},
	} {
		if found := PlaceOf(filter); found != place {
			t.Errorf("the place of %q is %+v, not %+v", filter, found, place)
		}
	}
}

func TestParseSlice(t *testing.T) {
	for key, slice := range map[string]Slice{
		"c/3/":         {Kind: Hash, Partition: 3},
		"c/3/0110":     {Kind: Hash, Partition: 3, Bits: 4, Value: 6},
		"t/a/b":        {Kind: Pin, Filter: "a/b"},
		"s/1of3/a/b":   {Kind: Spread, Part: 1, Of: 3, Filter: "a/b"},
		"w/0/":         {Kind: Group},
		"w/12/home/a/": {Kind: Group, Partition: 12, Prefix: "home/a/"},
		"c/0/" + strings.Repeat("1", 32): {
			Kind: Hash, Bits: 32, Value: 1<<32 - 1,
		},
	} {
		if found, isSlice := ParseSlice(key); !isSlice || found != slice {
			t.Errorf("%q is %+v (%v), not %+v", key, found, isSlice, slice)
		}
	}
	for _, key := range []string{
		"", "c", "c/", "c/x/", "c//", "c/1/2", "c/1234567/", "c/0/" + strings.Repeat("1", 33), "w/0/a", "x/0/", "s/a",
		"s/3of3/a", "s/1of/a", "s/-1of3/a", "w/-1/",
	} {
		if found, isSlice := ParseSlice(key); isSlice {
			t.Errorf("%q is no slice, and was read as %+v", key, found)
		}
	}
}

func TestCheckFilter(t *testing.T) {
	for _, filter := range []string{"a", "/", "#", "+", "a/+/#", "$share/g/#", "$SYS/#", strings.Repeat("a/", 127) + "a"} {
		if err := CheckFilter(filter); err != nil {
			t.Errorf("%q is valid: %v", filter, err)
		}
	}
	for _, filter := range []string{
		"", "a+", "+a/b", "#/a", "a/#/b", "a#", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "a\x00", "\xff",
		strings.Repeat("a/", 128) + "a", strings.Repeat("a", 65_536),
	} {
		if CheckFilter(filter) == nil {
			t.Errorf("%.20q is not valid", filter)
		}
	}
	for topic, isValid := range map[string]bool{"a/b": true, "/": true, "": false, "a/+": false, "#": false} {
		if (CheckTopic(topic) == nil) != isValid {
			t.Errorf("whether one may publish to %q", topic)
		}
	}
}
