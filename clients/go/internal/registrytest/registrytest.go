// Package registrytest is a schema registry for tests, with the schemas of this repository.
package registrytest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Prefix of the topics that it knows.
const Prefix = "test."

// ids of the schemas, by topic.
var ids = map[string]int{"subscriptions": 1, "sessions": 2, "metrics": 3, "pointer-table": 4}

var files = map[int]string{1: "subscription-event", 2: "session-record", 3: "metric", 4: "pointer-record"}

// New is the URL of a registry; unknown ids answer 404.
func New(t *testing.T) string {
	_, here, _, _ := runtime.Caller(0)
	schemas := filepath.Join(filepath.Dir(here), "../../../../schemas")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, code := 0, 0
		if rest, isID := strings.CutPrefix(r.URL.Path, "/schemas/ids/"); isID {
			id, _ = strconv.Atoi(rest)
		} else if subject, isSubject := strings.CutPrefix(r.URL.Path, "/subjects/"+Prefix); isSubject {
			id = ids[strings.TrimSuffix(subject, "-value/versions/latest")]
		}
		w.Header().Set("content-type", "application/vnd.schemaregistry.v1+json")
		text, err := os.ReadFile(filepath.Join(schemas, files[id]+".avsc"))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			text, id, code = nil, 0, 40403
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "version": 1, "schema": string(text), "error_code": code})
	}))
	t.Cleanup(server.Close)
	return server.URL
}
