package ec2

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Metadata is the instance's metadata service, IMDSv2 only: a token from PUT, then GET with the
// token. It answers in the words of the real one, one request per connection.
type Metadata struct {
	mu       sync.Mutex
	keys     map[string]string    // "latest/meta-data/mac": "0a:ff:00:00:00:01"
	tokens   map[string]time.Time // until when each is good
	busy     int                  // how many requests are still to be answered with 503
	refuse   int                  // how many good tokens are still to be answered with 401
	requests int                  // how many there have been
}

// NewMetadata returns the metadata of an instance with that many ENIs. It needs no network.
func NewMetadata(enis int) *Metadata {
	m := &Metadata{keys: make(map[string]string), tokens: make(map[string]time.Time)}
	m.describe()
	for device := range enis {
		m.describeENI(device)
	}
	return m
}

// Set makes GET /latest/meta-data/path answer body.
func (m *Metadata) Set(path, body string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys["latest/meta-data/"+path] = body
}

// Unset makes GET /latest/meta-data/path answer 404, as before the key has propagated.
func (m *Metadata) Unset(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keys, "latest/meta-data/"+path)
}

// Busy makes the next n requests answer 503.
func (m *Metadata) Busy(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy = n
}

// Refuse makes the next n good tokens be refused with 401, as happens to fresh ones at boot.
func (m *Metadata) Refuse(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = n
}

// Requests returns how many requests have come so far.
func (m *Metadata) Requests() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

// ServeHTTP answers one request as EC2 does.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Connection", "close")
	switch {
	case m.busy > 0:
		m.busy--
		refuse(w, http.StatusServiceUnavailable)
	case r.Method == http.MethodPut:
		m.put(w, r)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		m.get(w, r)
	default:
		refuse(w, http.StatusMethodNotAllowed)
	}
}

// put gives out a token. The limits are those that AWS documents; a PUT that a proxy has passed on
// is refused, for a token must not leave the instance.
func (m *Metadata) put(w http.ResponseWriter, r *http.Request) {
	const ttlHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
	switch {
	case r.Header.Get("X-Forwarded-For") != "", r.URL.Path != "/latest/api/token":
		refuse(w, http.StatusForbidden)
	case err != nil || ttl < 1 || ttl > 21600: // seconds; six hours at most
		refuse(w, http.StatusBadRequest)
	default:
		b := make([]byte, 40)
		rand.Read(b) // never fails
		token := base64.URLEncoding.EncodeToString(b)
		m.tokens[token] = time.Now().Add(time.Duration(ttl) * time.Second)
		w.Header().Set(ttlHeader, strconv.Itoa(ttl))
		answer(w, token)
	}
}

// get answers with a key's value, or with the keys in a folder, to those that have a token.
func (m *Metadata) get(w http.ResponseWriter, r *http.Request) {
	until := m.tokens[r.Header.Get("X-Aws-Ec2-Metadata-Token")]
	path := newest(strings.TrimPrefix(r.URL.Path, "/"))
	body, found := m.keys[path]
	if !found {
		path = strings.TrimSuffix(path, "/") + "/"
		body, found = m.keys[path]
	}
	if !found {
		body = m.list(path)
		found = body != ""
	}
	switch {
	case time.Now().After(until):
		refuse(w, http.StatusUnauthorized)
	case m.refuse > 0:
		m.refuse--
		refuse(w, http.StatusUnauthorized)
	case !found:
		refuse(w, http.StatusNotFound)
	default:
		answer(w, body)
	}
}

// list returns what is in a folder, one name a line, folders with a slash; "" if there is no such
// one.
func (m *Metadata) list(folder string) string {
	var names []string
	for key := range m.keys {
		rest, inside := strings.CutPrefix(key, folder)
		if !inside {
			continue
		}
		if name, _, deeper := strings.Cut(rest, "/"); deeper {
			rest = name + "/"
		}
		names = append(names, rest)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), "\n")
}

// answer sends a body as EC2 does.
func answer(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write([]byte(body)) // whoever asked may be gone
}

// refuse sends a status, with a page that nobody reads.
func refuse(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(code)
	title := fmt.Sprintf("%d - %s", code, http.StatusText(code))
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html><head><title>%s</title></head>\n"+
		"<body><h1>%s</h1></body></html>\n", title, title)
}
