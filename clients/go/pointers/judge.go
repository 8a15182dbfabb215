package pointers

import (
	"slices"
	"strings"

	"foreshard.dev/client/keys"
)

// judgeRemovals accepts the removal of a key that no record called GONE, only when that record may have been lost to
// compaction. What is accepted becomes part of what is applied.
func (t *Table) judgeRemovals() {
	hashes := map[int][]string{}
	for key := range t.removed {
		slice, isSlice := sliceOf(key)
		switch {
		case isSlice && slice.Kind == keys.Hash && t.holding:
			hashes[slice.Partition] = append(hashes[slice.Partition], bitsOf(key))
		case !isSlice && !t.isUsed(key[2:]), isSlice && t.holding && !isRoot(slice):
			t.pending[key] = nil
		default:
			t.refused.Add(1)
		}
	}
	touched := t.touched()
	for partition, removed := range hashes {
		left := t.hashesOf(partition, touched[partition])
		for _, bits := range removed {
			delete(left, bits)
		}
		if !isWholeCover(left) {
			t.refused.Add(int64(len(removed)))
			continue
		}
		for _, bits := range removed {
			t.pending[hashKey(partition, bits)] = nil
		}
	}
	clear(t.removed)
}

// judgeEntries refuses a change as a whole when one of its entries cannot be. In a first load, or when changes were lost
// to compaction, the entries are refused that fit with no other.
func (t *Table) judgeEntries() {
	refused := map[string]bool{}
	for key, record := range t.pending {
		if t.holding || record == nil {
			continue
		}
		if record.Shard != nil && record.isGone() && t.isUsed(record.Shard.ID) || !t.hasShards(record) {
			refused[key] = true
		}
	}
	for partition, touched := range t.touched() {
		before := t.hashesOf(partition, nil)
		after := t.hashesOf(partition, slices.DeleteFunc(touched, func(key string) bool { return refused[key] }))
		for one, other, found := overlapOf(after); found; one, other, found = overlapOf(after) {
			younger := other
			if after[one] > after[other] {
				younger = one
			}
			if after[younger] == 0 {
				break // Both were in the table before.
			}
			delete(after, younger)
			refused[hashKey(partition, younger)] = true
		}
		if t.holding || !isWholeCover(before) || isWholeCover(after) {
			continue
		}
		for bits := range before {
			if _, stays := after[bits]; !stays {
				refused[hashKey(partition, bits)] = true // GONE, without a successor.
			}
		}
	}
	for key, record := range t.pending {
		if slice, isSlice := sliceOf(key); isSlice && isRoot(slice) && record != nil && record.isGone() {
			refused[key] = true
		}
	}
	t.refused.Add(int64(len(refused)))
	switch {
	case len(refused) == 0:
	case t.holding:
		newest := t.Epoch()
		for key, record := range t.pending {
			if refused[key] {
				delete(t.pending, key)
			} else if record != nil {
				newest = max(newest, record.epoch())
			}
		}
		if t.change != nil {
			t.change.epoch = newest
		}
	default:
		clear(t.pending)
		t.change = nil
	}
}

// touched are the keys of hash slices that are pending, by partition.
func (t *Table) touched() map[int][]string {
	found := map[int][]string{}
	for key := range t.pending {
		if slice, isSlice := sliceOf(key); isSlice && slice.Kind == keys.Hash {
			found[slice.Partition] = append(found[slice.Partition], key)
		}
	}
	return found
}

// hashesOf are the bits of the hash slices of the partition once the pending records of these keys are applied; with the
// epoch of the pending ones, and 0 for the others.
func (t *Table) hashesOf(partition int, pending []string) map[string]int64 {
	found := map[string]int64{}
	if partition < t.partitions {
		for _, ofLength := range t.parts[partition].hashes {
			for _, pointer := range ofLength {
				found[bitsOf(pointer.Slice)] = 0
			}
		}
	}
	for _, key := range pending {
		if record := t.pending[key]; record != nil && !record.isGone() {
			found[bitsOf(key)] = record.epoch()
		} else {
			delete(found, bitsOf(key))
		}
	}
	return found
}

// hasShards: the shards of a pointer exist once what is pending is applied.
func (t *Table) hasShards(record *Record) bool {
	if record.Pointer == nil || record.isGone() {
		return true
	}
	for _, id := range record.Pointer.Shards {
		if pending, isPending := t.pending["s:"+id]; isPending {
			if pending == nil || pending.isGone() {
				return false
			}
		} else if _, isKnown := t.shards[id]; !isKnown {
			return false
		}
	}
	return true
}

// isUsed: a slice is on the shard once what is pending is applied.
func (t *Table) isUsed(shard string) bool {
	for _, record := range t.pending {
		if record != nil && record.Pointer != nil && slices.Contains(record.Pointer.Shards, shard) {
			return true
		}
	}
	for _, pointer := range t.pointers {
		_, isPending := t.pending["p:"+pointer.Slice]
		if !isPending && slices.Contains(pointer.Shards, shard) {
			return true
		}
	}
	return false
}

func sliceOf(key string) (keys.Slice, bool) {
	text, isPointer := strings.CutPrefix(key, "p:")
	if !isPointer {
		return keys.Slice{}, false
	}
	return keys.ParseSlice(text)
}

// isRoot is true of the group that every partition has.
func isRoot(slice keys.Slice) bool { return slice.Kind == keys.Group && slice.Prefix == "" }

// overlapOf finds two of which one contains the other: in sort order they are neighbours.
func overlapOf(hashes map[string]int64) (one, other string, found bool) {
	bits := sorted(hashes)
	for i := 1; i < len(bits); i++ {
		if strings.HasPrefix(bits[i], bits[i-1]) {
			return bits[i-1], bits[i], true
		}
	}
	return "", "", false
}

// isWholeCover: every hash has exactly one owner.
func isWholeCover(hashes map[string]int64) bool {
	if _, _, found := overlapOf(hashes); found {
		return false
	}
	covered := uint64(0)
	for bits := range hashes {
		covered += 1 << (32 - len(bits))
	}
	return covered == 1<<32
}

func sorted(hashes map[string]int64) []string {
	bits := make([]string, 0, len(hashes))
	for each := range hashes {
		bits = append(bits, each)
	}
	slices.Sort(bits)
	return bits
}

func bitsOf(slice string) string { return slice[strings.LastIndexByte(slice, '/')+1:] }
