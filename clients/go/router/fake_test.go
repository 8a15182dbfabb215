package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"foreshard.dev/client/pointers"
)

// server is a shard server as far as a router sees: answer is called for each command of Foreshard's.
type server struct {
	t        *testing.T
	listener net.Listener
	answer   func(words []string) string

	mu       sync.Mutex
	conns    map[net.Conn]bool
	commands [][]string // All but questions.
	asked    int
}

func newServer(t *testing.T, answer func(words []string) string) *server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, listener: listener, answer: answer, conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			go s.serve(conn)
		}
	}()
	t.Cleanup(s.stop)
	return s
}

func (s *server) address() string { return s.listener.Addr().String() }

func (s *server) stop() {
	s.listener.Close()
	s.cut()
}

// cut ends the connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
		delete(s.conns, conn)
	}
}

func (s *server) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// count is how often a command was sent that begins with these words.
func (s *server) count(words ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := 0
	for _, command := range s.commands {
		if strings.HasPrefix(strings.Join(command, " ")+" ", strings.Join(words, " ")+" ") {
			found++
		}
	}
	return found
}

// push tells all connections that the keys are no longer valid.
func (s *server) push(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		fmt.Fprintf(conn, ">2\r\n$10\r\ninvalidate\r\n%s", list(keys...))
	}
}

func (s *server) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		words, err := readCommand(reader)
		if err != nil {
			return
		}
		var reply string
		questions := questionsIn(words)
		s.mu.Lock()
		if s.asked += len(questions); len(questions) == 0 {
			s.commands = append(s.commands, words)
		}
		s.mu.Unlock()
		switch {
		case words[0] == "FS.MBROKERS":
			var pushes string
			reply = fmt.Sprintf("*%d\r\n", len(questions))
			for _, question := range questions {
				answer, push, isPushed := strings.Cut(s.answer(question), ">")
				if reply += answer; isPushed {
					pushes += ">" + push
				}
			}
			reply += pushes
		case words[0] == "FS.CLIENTS":
			reply = s.answer(words)
		case words[0] == "HELLO":
			reply = "%3\r\n$6\r\nserver\r\n$9\r\nforeshard\r\n$7\r\nversion\r\n$5\r\n1.0.0\r\n$5\r\nproto\r\n:3\r\n"
		case words[0] == "PING":
			reply = "+PONG\r\n"
		case words[0] == "FS.FLEET" && words[len(words)-1] == "":
			reply = "-REQUEST_INVALID a fleet is the prefix of its topics\r\n"
		default:
			reply = "+OK\r\n"
		}
		s.mu.Lock()
		_, err = io.WriteString(conn, reply)
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// questionsIn are those of the command: shard, instance, epoch, topic, slices.
func questionsIn(words []string) (found [][]string) {
	switch words[0] {
	case "FS.CLIENTS":
		return [][]string{words}
	case "FS.MBROKERS":
		for rest := words[2:]; len(rest) > 0; {
			count, _ := strconv.Atoi(rest[3])
			question := []string{"FS.MBROKERS", rest[0], rest[1], words[1], rest[2]}
			found = append(found, append(question, rest[4:4+count]...))
			rest = rest[4+count:]
		}
	}
	return found
}

func readCommand(reader *bufio.Reader) ([]string, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	count, _ := strconv.Atoi(strings.Trim(line, "*\r\n"))
	words := make([]string, count)
	for i := range words {
		if line, err = reader.ReadString('\n'); err != nil {
			return nil, err
		}
		size, _ := strconv.Atoi(strings.Trim(line, "$\r\n"))
		word := make([]byte, size+2)
		if _, err := io.ReadFull(reader, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:size])
	}
	return words, nil
}

func list(texts ...string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "*%d\r\n", len(texts))
	for _, text := range texts {
		fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(text), text)
	}
	return out.String()
}

// hears is the answer of FS.BROKERS for these brokers, and no share group.
func hears(keepMs int, brokers ...string) string {
	return fmt.Sprintf("*3\r\n%s*0\r\n:%d\r\n", list(brokers...), keepMs)
}

// row is a subscriber as the protocol writes it.
func row(filter, client, broker string, qos int) string {
	texts := strings.TrimPrefix(list(filter, client, broker), "*3\r\n")
	return fmt.Sprintf("*8\r\n%s:%d\r\n:0\r\n:1\r\n:2\r\n:7\r\n", texts, qos)
}

// tables has one table, and another one when it is waited for.
type tables struct {
	mu      sync.Mutex
	current *pointers.Table
	next    []*pointers.Table
	waited  []int64
}

func (t *tables) Table() *pointers.Table {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current
}

func (t *tables) Newer(_ context.Context, epoch int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waited = append(t.waited, epoch)
	if len(t.next) > 0 {
		t.current, t.next = t.next[0], t.next[1:]
	}
	return t.current.Epoch() > epoch
}

// table has one partition: concrete filters on one shard, the others on another, or as given by slice.
func table(epoch int64, shards map[string]string, slices ...*pointers.Pointer) *pointers.Table {
	made := pointers.NewTable(1)
	var bodies []*pointers.Record
	for id, address := range shards {
		shard := &pointers.Shard{ID: id, Instance: id + "-1", Address: "http://" + address, State: "READY", Epoch: epoch}
		bodies = append(bodies, &pointers.Record{Shard: shard})
	}
	for _, pointer := range slices {
		pointer.Epoch = epoch
		bodies = append(bodies, &pointers.Record{Pointer: pointer})
	}
	for i, record := range bodies {
		record.Change = pointers.Change{Epoch: epoch, Index: i, Count: len(bodies), Term: 1, Planner: "p"}
		key := "p:"
		if record.Shard != nil {
			key = "s:" + record.Shard.ID
		} else {
			key += record.Pointer.Slice
		}
		made.Apply(key, record, int64(i))
	}
	made.Reached(int64(len(bodies)), true)
	return made
}

func on(slice string, shards ...string) *pointers.Pointer {
	mode := pointers.Single
	if len(shards) > 1 {
		mode = pointers.Replicas
	}
	return &pointers.Pointer{Slice: slice, Mode: mode, Shards: shards}
}
