package main

// This file is the part of HTTP/1.1 (RFC 9112) that IMDS needs: it reads a response from an
// io.Reader and opens no connection. The server is not trusted: everything it sends is bounded and
// checked. A wrong response is an error, and never half a body. No error quotes what the server
// sent, because that may have the token in it.

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

// How much of a reply is read.
const (
	headLimit   = 16 << 10 // bytes of a reply's status line and headers, and of each chunk's
	tokenLimit  = 4 << 10  // bytes; systemd-imdsd has the same
	bodyLimit   = 64 << 10 // bytes
	outputLimit = 4 << 20  // bytes of a body that the verb imds prints
)

// errFinal means that another try would not cure it.
var errFinal = errors.New("final")

// isFinal reports whether err is one that another try would not cure.
func isFinal(err error) bool { return errors.Is(err, errFinal) }

// A reply is an HTTP response without its headers.
type reply struct {
	status int
	body   []byte
}

// errIMDSOff is what 403 means: the metadata options of the instance have IMDS disabled. It may
// also be a proxy's or a firewall's answer.
var errIMDSOff = errors.New("IMDS is switched off, or a proxy or firewall answers in its place")

// check returns nil for 200, else an error, which is final where another try would not help. A new
// token helps against 401: with a fresh token, too, it is half of the failures in the first seconds
// of an instance. Time helps against 408, 425, 429 and 5xx, and against 404 where late says that
// the key may come later.
func (r reply) check(late bool) error {
	err := errorf("status %d", r.status)
	switch {
	case r.status == 200:
		return nil
	case r.status == 403:
		err = errorf("%w: %w", err, errIMDSOff)
	case r.status == 404 && late, r.status == 401, r.status == 408, r.status == 425,
		r.status == 429, r.status >= 500:
		return err
	}
	return taggedError{err, errFinal}
}

// readReply reads an HTTP/1.0 or 1.1 response: RFC 9112. It is an error if the body has more than
// limit bytes, or ends before its length. The body is read only for status 200.
func readReply(from io.Reader, limit int) (reply, error) {
	r := bufio.NewReader(from)
	head := headLimit
	for {
		protocol, status, err := readStatus(r, &head)
		if err != nil {
			return reply{}, err
		}
		f, err := readFraming(r, &head)
		if err == nil && f.chunked && protocol != "HTTP/1.1" {
			// RFC 9112, 6.1: the framing is faulty.
			err = errors.New("chunks in HTTP/1.0")
		}
		if err != nil {
			return reply{}, err
		}
		if status >= 200 { // RFC 9110, 15.2: 1xx are interim
			rep := reply{status: status}
			if status == 200 {
				rep.body, err = f.read(r, limit)
			}
			return rep, err
		}
	}
}

// readStatus reads "HTTP/1.1 200 OK".
func readStatus(r *bufio.Reader, budget *int) (protocol string, status int, err error) {
	line, err := readLine(r, budget)
	if err != nil {
		return "", 0, err
	}
	protocol, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err = strconv.Atoi(code)
	known := protocol == "HTTP/1.0" || protocol == "HTTP/1.1"
	if err != nil || len(code) != 3 || status < 100 || !known {
		return "", 0, errors.New("not HTTP/1.0 or HTTP/1.1")
	}
	return protocol, status, nil
}

// A framing is where a body ends: RFC 9112, 6.3. The zero value means at the end of the connection.
type framing struct {
	chunked bool
	length  *int // Content-Length
}

// readFraming reads the headers, and returns the framing that they tell.
func readFraming(r *bufio.Reader, budget *int) (f framing, err error) {
	for {
		line, err := readLine(r, budget)
		if err != nil || line == "" {
			return f, err
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch {
		case !ok:
			return f, errors.New("not a header")
		case strings.EqualFold(name, "Transfer-Encoding"):
			if f.chunked = strings.EqualFold(value, "chunked"); !f.chunked {
				return f, errors.New("a transfer encoding other than chunked")
			}
		case strings.EqualFold(name, "Content-Length"):
			n, err := strconv.ParseUint(value, 10, 31)
			length := int(n)
			if err != nil || f.length != nil && *f.length != length {
				return f, errors.New("not a content length")
			}
			f.length = &length
		}
	}
}

// read reads a body with that framing.
func (f framing) read(r *bufio.Reader, limit int) ([]byte, error) {
	switch {
	case f.chunked: // then a Content-Length does not count: RFC 9112, 6.3
		return readChunks(r, limit)
	case f.length != nil && *f.length > limit:
		return nil, errTooLong(limit)
	case f.length != nil:
		body := make([]byte, *f.length)
		_, err := io.ReadFull(r, body)
		return body, describeEOF(err)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(body) > limit {
		err = errTooLong(limit)
	}
	return body, err
}

// readChunks reads a chunked body: RFC 9112, 7.1. Trailers are not read. The lines that are not
// data may have headLimit bytes in all, and besides that the size of each chunk.
func readChunks(r *bufio.Reader, limit int) ([]byte, error) {
	body := []byte{} // not nil, also where it is empty
	for budget := headLimit; ; budget += len("\r\n7fffffff\r\n") {
		line, err := readLine(r, &budget)
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimRight(digits, " \t"), 16, 31)
		switch {
		case err != nil:
			return nil, errors.New("not a chunk")
		case n == 0:
			return body, nil
		case n > uint64(limit-len(body)):
			return nil, errTooLong(limit)
		}
		start := len(body)
		body = append(body, make([]byte, n)...)
		if _, err := io.ReadFull(r, body[start:]); err != nil {
			return nil, describeEOF(err)
		}
		line, err = readLine(r, &budget)
		if err == nil && line != "" {
			err = errors.New("a chunk that does not end")
		}
		if err != nil {
			return nil, err
		}
	}
}

// readLine reads a line of at most budget bytes, and takes its length off the budget.
func readLine(r *bufio.Reader, budget *int) (string, error) {
	var line []byte
	for ; *budget > 0; *budget-- {
		c, err := r.ReadByte()
		if err != nil {
			return "", describeEOF(err)
		}
		if c == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, c)
	}
	return "", errorf("a head of more than %d bytes", headLimit)
}

// errTooLong is final because the next reply would be as long.
func errTooLong(limit int) error {
	return taggedError{errorf("more than %d bytes", limit), errFinal}
}

// describeEOF says in words that the connection ended where there should be more.
func describeEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection ended too early")
	}
	return err
}

// isPrintable reports whether b is visible ASCII and not empty. A token must be that, because it
// goes into a header of the next request.
func isPrintable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(b) > 0
}
