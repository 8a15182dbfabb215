// Package records reads and writes the values of a fleet's topics: Avro behind the header of the Confluent wire format,
// with schemas from a registry.
package records

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
)

// ErrUndecodable is the error of a value that nobody can read; any other error of Decode passes.
var ErrUndecodable = errors.New("the value cannot be read")

const (
	headerBytes = 5
	// A registry's followers lag: an unknown id is asked for again, then remembered for a time.
	unknownTries = 3
	unknownPause = 200 * time.Millisecond
	unknownFor   = time.Minute
	unknownMax   = 1_000
)

// Registry knows the schemas of a fleet. Safe for use by several goroutines.
type Registry struct {
	client  *sr.Client
	mu      sync.Mutex
	schemas map[int]*avro.Schema
	unknown map[int]time.Time
}

// Open names the registry; nothing is asked yet.
func Open(url string, options ...sr.ClientOpt) (*Registry, error) {
	client, err := sr.NewClient(append([]sr.ClientOpt{sr.URLs(url)}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("the schema registry %s: %w", url, err)
	}
	return &Registry{client: client, schemas: map[int]*avro.Schema{}, unknown: map[int]time.Time{}}, nil
}

// Decode reads a value as its writer's schema says: enums as text, unions as a map from the branch's full name. Fields
// that the writer did not know are absent.
func (r *Registry) Decode(ctx context.Context, value []byte) (map[string]any, error) {
	if len(value) < headerBytes || value[0] != 0 {
		return nil, fmt.Errorf("%w: it has no header of the Confluent wire format", ErrUndecodable)
	}
	schema, err := r.schema(ctx, int(binary.BigEndian.Uint32(value[1:])))
	if err != nil {
		return nil, err
	}
	var record map[string]any
	if _, err := schema.Decode(value[headerBytes:], &record, avro.TaggedUnions()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	return record, nil
}

func (r *Registry) schema(ctx context.Context, id int) (*avro.Schema, error) {
	r.mu.Lock()
	schema, until := r.schemas[id], r.unknown[id]
	r.mu.Unlock()
	if schema != nil {
		return schema, nil
	}
	if time.Now().Before(until) {
		return nil, fmt.Errorf("%w: the registry does not know schema %d", ErrUndecodable, id)
	}
	for try := 1; ; try++ {
		found, err := r.client.SchemaByID(ctx, id)
		if err == nil {
			return r.learn(id, found.Schema)
		}
		var refused *sr.ResponseError
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusNotFound {
			return nil, fmt.Errorf("the schema registry: %w", err)
		}
		if try == unknownTries {
			break
		}
		if err := Sleep(ctx, unknownPause); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unknown) >= unknownMax {
		clear(r.unknown)
	}
	r.unknown[id] = time.Now().Add(unknownFor)
	return nil, fmt.Errorf("%w: the registry does not know schema %d", ErrUndecodable, id)
}

func (r *Registry) learn(id int, text string) (*avro.Schema, error) {
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: schema %d: %w", ErrUndecodable, id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schemas[id] = schema
	return schema, nil
}

// Encoder writes values of one topic, with the newest schema that Foreshard has registered for it: its fields that this
// client does not know have defaults.
type Encoder struct {
	schema *avro.Schema
	header [headerBytes]byte
}

// Encoder looks up the newest schema of a topic.
func (r *Registry) Encoder(ctx context.Context, topic string) (*Encoder, error) {
	const newest = -1
	found, err := r.client.SchemaByVersion(ctx, topic+"-value", newest)
	if err != nil {
		return nil, fmt.Errorf("the schema of %s: %w", topic, err)
	}
	schema, err := r.learn(found.ID, found.Schema.Schema)
	if err != nil {
		return nil, err
	}
	encoder := &Encoder{schema: schema}
	binary.BigEndian.PutUint32(encoder.header[1:], uint32(found.ID))
	return encoder, nil
}

// Encode is the value of a record.
func (e *Encoder) Encode(record map[string]any) ([]byte, error) {
	return e.schema.AppendEncode(append(make([]byte, 0, 128), e.header[:]...), record)
}

// Sleep returns early, with the context's error, when the context ends.
func Sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
