package main

import (
	"net/http"
	"slices"
	"sync"

	"eni0/testbed/ec2"
)

// imds is the metadata service that remembers what it was asked.
type imds struct {
	*ec2.Metadata
	named chan struct{} // has something in it once the primary has been named

	mu       sync.Mutex
	requests []request
}

// ServeHTTP answers, and takes note of how.
func (m *imds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &statusWriter{w, http.StatusOK}
	m.Metadata.ServeHTTP(s, r)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, request{r.Method, r.URL.Path, s.status})
	if r.URL.Path == "/latest/meta-data/mac" && s.status == http.StatusOK {
		select {
		case m.named <- struct{}{}:
		default: // it is known already
		}
	}
}

// seen returns the requests so far.
func (m *imds) seen() []request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader takes note of the status.
func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}
