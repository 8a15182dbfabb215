package router

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"foreshard.dev/client/keys"
)

// connection asks one shard server, over one pipelined connection that also reports changes. A lost connection is made
// anew by the next question; what was answered on it is forgotten first.
type connection struct {
	address    string
	options    *Options
	partitions int
	changed    func(topic string) // Empty: all topics.

	mu       sync.Mutex
	queue    []waiting // Questions that are not sent yet.
	batches  int       // How many goroutines send them.
	client   rueidis.Client
	isClosed bool
	failedAt time.Time
	failure  error
	dialing  chan struct{} // Closed when the attempt under way has ended; nil for none.
}

const (
	// A server that does not answer a ping in time is cut off, perhaps without knowing it: it would report no changes.
	pingEvery   = time.Second
	pingTimeout = 2 * time.Second
	// After a failure a server is not tried again at once.
	againAfter = 100 * time.Millisecond
	// batchesMax of questions are under way at the same time, each of at most so many questions and words.
	batchesMax = 4
	batchMax   = 128
	wordsMax   = 16_000
	queueMax   = 65_536
)

type waiting struct {
	question
	answered chan answered
}

type answered struct {
	audience audience
	err      error
}

// question is of one shard.
type question struct {
	shard, instance, topic string
	epoch                  int64
	slices                 []string
}

// audience is the answer to a question of FS.MBROKERS.
type audience struct {
	brokers []string
	members []Subscriber
	// keep is how long it may be kept: -1 until told, 0 not at all.
	keep time.Duration
}

// brokers asks together with what others ask meanwhile: few large commands cost a server less than many small ones.
func (c *connection) brokers(ctx context.Context, q question) (audience, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	asked := waiting{question: q, answered: make(chan answered, 1)}
	c.mu.Lock()
	if len(c.queue) >= queueMax {
		c.mu.Unlock()
		return audience{}, c.problem("STORE_UNAVAILABLE", "too many questions wait for it", nil)
	}
	c.queue = append(c.queue, asked)
	if c.batches < batchesMax {
		c.batches++
		go c.sendBatches()
	}
	c.mu.Unlock()
	select {
	case given := <-asked.answered:
		return given.audience, given.err
	case <-ctx.Done():
		return audience{}, c.problem("STORE_UNAVAILABLE", ctx.Err().Error(), ctx.Err())
	}
}

// sendBatches sends one batch after the other until no question waits.
func (c *connection) sendBatches() {
	for batch := c.nextBatch(); len(batch) > 0; batch = c.nextBatch() {
		answers, err := c.askMany(batch)
		for i, asked := range batch {
			if err != nil {
				asked.answered <- answered{err: err}
				continue
			}
			found, problem := c.audienceIn(answers[i])
			asked.answered <- answered{found, problem}
		}
	}
}

// nextBatch takes questions of one epoch from the queue; none when there are none.
func (c *connection) nextBatch() []waiting {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken, words := 0, 0
	for taken < min(len(c.queue), batchMax) && c.queue[taken].epoch == c.queue[0].epoch {
		if words += 4 + len(c.queue[taken].slices); words > wordsMax {
			break
		}
		taken++
	}
	batch := slices.Clone(c.queue[:taken])
	if c.queue = c.queue[taken:]; taken == 0 {
		c.queue = nil
		c.batches--
	}
	return batch
}

func (c *connection) askMany(batch []waiting) ([]rueidis.RedisMessage, error) {
	words := []string{strconv.FormatInt(batch[0].epoch, 10)}
	for _, q := range batch {
		words = append(words, q.shard, q.instance, q.topic, strconv.Itoa(len(q.slices)))
		words = append(words, q.slices...)
	}
	answers, err := c.call(context.Background(), "FS.MBROKERS", words)
	if err == nil && len(answers) != len(batch) {
		err = c.notAServer(nil)
	}
	return answers, err
}

func (c *connection) audienceIn(message rueidis.RedisMessage) (audience, error) {
	answer, err := message.ToArray()
	if err != nil {
		return audience{}, c.problemOf(err)
	}
	if len(answer) != 3 {
		return audience{}, c.notAServer(nil)
	}
	brokers, err := answer[0].AsStrSlice()
	if err != nil {
		return audience{}, c.notAServer(err)
	}
	members, err := answer[1].ToArray()
	if err != nil {
		return audience{}, c.notAServer(err)
	}
	keepMs, err := answer[2].AsInt64()
	if err != nil {
		return audience{}, c.notAServer(err)
	}
	found := audience{brokers: brokers, keep: -1}
	if keepMs >= 0 {
		found.keep = time.Duration(keepMs) * time.Millisecond
	}
	found.members, err = c.subscribers(members)
	return found, err
}

func (c *connection) clients(ctx context.Context, q question) ([]Subscriber, error) {
	words := append([]string{q.shard, q.instance, strconv.FormatInt(q.epoch, 10), q.topic}, q.slices...)
	answer, err := c.call(ctx, "FS.CLIENTS", words)
	if err != nil {
		return nil, err
	}
	return c.subscribers(answer)
}

func (c *connection) subscribers(rows []rueidis.RedisMessage) ([]Subscriber, error) {
	found := make([]Subscriber, 0, len(rows))
	for _, row := range rows {
		fields, err := row.ToArray()
		if err != nil || len(fields) != 8 {
			return nil, c.notAServer(err)
		}
		var texts [3]string
		var numbers [5]int64
		for i, field := range fields {
			if i < len(texts) {
				texts[i], err = field.ToString()
			} else {
				numbers[i-len(texts)], err = field.AsInt64()
			}
			if err != nil {
				return nil, c.notAServer(err)
			}
		}
		found = append(found, Subscriber{
			Filter: texts[0], ClientID: texts[1], BrokerID: texts[2],
			QoS:                    byte(numbers[0]),
			NoLocal:                numbers[1] == 1,
			RetainAsPublished:      numbers[2] == 1,
			RetainHandling:         byte(numbers[3]),
			SubscriptionIdentifier: int(numbers[4]),
		})
	}
	return found, nil
}

// call sends one command, whose reply is an array.
func (c *connection) call(ctx context.Context, command string, words []string) ([]rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	client, err := c.connected(ctx)
	if err != nil {
		return nil, c.problem("STORE_UNAVAILABLE", err.Error(), err)
	}
	answer, err := client.Do(ctx, client.B().Arbitrary(command).Args(words...).Build()).ToArray()
	if err != nil {
		return nil, c.problemOf(err)
	}
	return answer, nil
}

// problemOf is what a server has refused, or why it has not answered.
func (c *connection) problemOf(err error) error {
	var refused *rueidis.RedisError
	if !errors.As(err, &refused) {
		return c.problem("STORE_UNAVAILABLE", err.Error(), err)
	}
	code, message, _ := strings.Cut(refused.Error(), " ")
	return c.problem(code, message, nil)
}

func (c *connection) problem(code, message string, cause error) *ShardError {
	return &ShardError{Code: code, Message: fmt.Sprintf("the shard server at %s: %s", c.address, message), cause: cause}
}

func (c *connection) notAServer(cause error) error {
	return c.problem("STORE_UNAVAILABLE", "it does not answer as a shard server", cause)
}

// connected waits for the attempt to connect that is under way, or makes one.
func (c *connection) connected(ctx context.Context) (rueidis.Client, error) {
	for {
		c.mu.Lock()
		switch {
		case c.isClosed:
			c.mu.Unlock()
			return nil, net.ErrClosed
		case c.client != nil:
			defer c.mu.Unlock()
			return c.client, nil
		case c.dialing == nil && time.Since(c.failedAt) < againAfter:
			defer c.mu.Unlock()
			return nil, c.failure
		case c.dialing == nil:
			c.dialing = make(chan struct{})
			go c.connect(c.dialing)
		}
		dialing := c.dialing
		c.mu.Unlock()
		select {
		case <-dialing:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *connection) connect(done chan struct{}) {
	defer close(done)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:           []string{c.address},
		Dialer:                net.Dialer{Timeout: c.options.Timeout, KeepAlive: pingEvery},
		ConnWriteTimeout:      pingTimeout,
		TLSConfig:             c.options.TLS,
		DialCtxFn:             c.dial,
		ClientTrackingOptions: []string{},
		OnInvalidations:       c.invalidated,
		ClientSetInfo:         []string{"foreshard-go", "1"},
		ForceSingleClient:     true,
		PipelineMultiplex:     -1, // One connection.
		DisableRetry:          true,
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = nil
	if err != nil {
		c.failedAt, c.failure = time.Now(), err
	} else if c.isClosed {
		client.Close()
	} else {
		c.client = client
	}
}

// dial connects, shows the token and states the fleet, before anything else is sent on the connection.
func (c *connection) dial(ctx context.Context, address string, dialer *net.Dialer, secure *tls.Config) (net.Conn, error) {
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		conn = tls.Client(conn, secure)
	}
	if err := c.introduce(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (c *connection) introduce(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(c.options.Timeout)); err != nil {
		return err
	}
	var commands [][]string
	if c.options.Token != "" {
		commands = append(commands, []string{"AUTH", c.options.Token})
	}
	fleet := []string{"FS.FLEET", strconv.Itoa(c.partitions), strconv.Itoa(keys.Format)}
	if c.options.Fleet != "" {
		fleet = append(fleet, c.options.Fleet)
	}
	commands = append(commands, fleet)
	for _, words := range commands {
		var bytes strings.Builder
		fmt.Fprintf(&bytes, "*%d\r\n", len(words))
		for _, word := range words {
			fmt.Fprintf(&bytes, "$%d\r\n%s\r\n", len(word), word)
		}
		if _, err := conn.Write([]byte(bytes.String())); err != nil {
			return err
		}
		// Nothing follows the reply before the next command is sent, so the reader holds back nothing.
		reply, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return err
		}
		if reply = strings.TrimSpace(reply); reply != "+OK" {
			return fmt.Errorf("it answers %s with %s", words[0], strings.TrimPrefix(reply, "-"))
		}
	}
	return conn.SetDeadline(time.Time{})
}

// invalidated gets keys: `shard topic`, or `shard` alone for all of its topics; nil when the connection is lost.
func (c *connection) invalidated(messages []rueidis.RedisMessage) {
	if messages == nil {
		c.changed("")
	}
	for _, message := range messages {
		key, err := message.ToString()
		_, topic, _ := strings.Cut(key, " ")
		if err != nil {
			topic = ""
		}
		c.changed(topic)
	}
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isClosed = true
	if c.client != nil {
		c.client.Close()
	}
}

// hostOf is the host and port of an address, with or without a scheme.
func hostOf(address string) string {
	if !strings.Contains(address, "://") {
		return strings.TrimRight(address, "/")
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return address
	}
	if parsed.Port() == "" {
		port := "80"
		if parsed.Scheme == "https" {
			port = "443"
		}
		return net.JoinHostPort(parsed.Hostname(), port)
	}
	return parsed.Host
}
