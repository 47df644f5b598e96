package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	headMost = 8 << 10
	sinkSize = 128 << 10 // as much as downloaders read at once
)

// wire is a connection on which one GET follows another. It costs as little as a client can that reads what it gets, since
// it shares the processors with the server.
type wire struct {
	host string
	conn *net.TCPConn
	raw  syscall.RawConn
	buf  []byte // where heads of answers go
	sink []byte // where bodies go
}

func dial(ctx context.Context, host string) (*wire, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("%T is no TCP connection", c)
	}
	raw, err := conn.SyscallConn()
	return &wire{host: host, conn: conn, raw: raw, buf: make([]byte, headMost), sink: make([]byte, sinkSize)}, err
}

// get asks for a path and takes the whole answer, which has to be a 200, and returns the length of its body.
func (w *wire) get(path string) (int64, error) {
	if _, err := fmt.Fprintf(w.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Api-Key: %s\r\n\r\n", path, w.host, adminKey); err != nil {
		return 0, err
	}
	have, end := 0, -1
	for end < 0 {
		n, err := w.conn.Read(w.buf[have:])
		if err != nil {
			return 0, err
		}
		have += n
		end = bytes.Index(w.buf[:have], []byte("\r\n\r\n"))
	}
	end += 4
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(w.buf[:end])), nil)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close() // it is not read here
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 {
		return 0, fmt.Errorf("GET %s: %s of %d bytes: %s", path, resp.Status, resp.ContentLength, w.buf[end:have])
	}
	return resp.ContentLength, w.discard(resp.ContentLength - int64(have-end))
}

// discard reads what comes next, as a client does that has a use for it, and drops it.
func (w *wire) discard(n int64) error {
	for n > 0 {
		var got int
		var err error
		if closed := w.raw.Read(func(fd uintptr) bool {
			got, _, err = syscall.Recvfrom(int(fd), w.sink[:min(n, sinkSize)], 0)
			return !errors.Is(err, syscall.EAGAIN)
		}); closed != nil {
			return closed
		}
		if err == nil && got == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		n -= int64(max(got, 0))
	}
	return nil
}

// errEnough is what ends a client of a crowd.
var errEnough = errors.New("enough")

// crowd has some clients get paths, each on a connection of its own: ask is called by each, with its number, until it
// returns an error, errEnough when all is well. It returns how long that took.
func crowd(ctx context.Context, host string, clients int, ask func(client int, w *wire) error) (time.Duration, error) {
	wires := make([]*wire, clients)
	for i := range wires {
		w, err := dial(ctx, host)
		if err != nil {
			return 0, err
		}
		defer w.conn.Close()
		wires[i] = w
	}
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for i, w := range wires {
		stop := context.AfterFunc(ctx, func() { _ = w.conn.Close() })
		group.Go(func() error {
			defer stop()
			for {
				if err := ask(i, w); errors.Is(err, errEnough) {
					return nil
				} else if err != nil {
					return err
				}
			}
		})
	}
	err := group.Wait()
	return time.Since(began), err
}
