package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxAdvertisement bounds the list of refs that is read; a million refs fit.
	maxAdvertisement = 128 << 20
	peeled           = "^{}"
	nullID           = "0000000000000000000000000000000000000000"
)

var errNotRefs = errors.New("no list of refs")

// refs is what a server advertises, as far as it was asked for.
type refs struct {
	ids     map[string]string // by full name; tags by the commit that they stand for
	empty   bool              // nothing at all is advertised
	filters bool              // the server leaves out objects that it is asked to leave out
}

// readRefs reads an advertisement of protocol version 0 or 1 and keeps the wanted refs, so that its memory does not grow
// with the repository's.
// Source: gitprotocol-pack(5), "Reference Discovery"; gitprotocol-http(5), "Smart Clients".
func readRefs(r io.Reader, wanted []string) (*refs, error) {
	in := bufio.NewReader(io.LimitReader(r, maxAdvertisement))
	if err := readService(in); err != nil {
		return nil, err
	}
	return readList(in, wanted)
}

// readService reads what smart HTTP puts before the list of refs.
func readService(in *bufio.Reader) error {
	first, err := readPacket(in)
	if err != nil {
		return err
	}
	if strings.TrimSuffix(first, "\n") != "# service="+service {
		return errNotRefs
	}
	if flush, err := readPacket(in); err != nil || flush != "" {
		return errors.Join(errNotRefs, err)
	}
	return nil
}

func readList(in *bufio.Reader, wanted []string) (*refs, error) {
	found := &refs{ids: make(map[string]string), empty: true}
	for {
		line, err := readPacket(in)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return found, nil
		}
		if err := found.add(line, wanted); err != nil {
			return nil, err
		}
	}
}

// add takes one line: an object's ID, a space, a ref, and on the first one a NUL and the server's capabilities. The line
// that follows a tag's holds the commit that the tag stands for, under its name with ^{} behind.
func (f *refs) add(line string, wanted []string) error {
	line, capabilities, first := strings.Cut(strings.TrimSuffix(line, "\n"), "\x00")
	if first {
		f.filters = slices.Contains(strings.Fields(capabilities), "filter")
	}
	if line == "version 1" || strings.HasPrefix(line, "shallow ") {
		return nil
	}
	id, name, ok := strings.Cut(line, " ")
	if !ok || !isCommit(id) {
		return fmt.Errorf("%w: a line of it is no ref", errNotRefs)
	}
	if id == nullID {
		return nil // "capabilities^{}" of a repository without refs
	}
	f.empty = false
	if name = strings.TrimSuffix(name, peeled); slices.Contains(wanted, name) {
		f.ids[name] = id
	}
	return nil
}

// readPacket reads one packet line; "" is the flush packet.
// Source: gitprotocol-common(5), "pkt-line Format".
func readPacket(in *bufio.Reader) (string, error) {
	var header [4]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return "", cutShort(err)
	}
	size, err := strconv.ParseUint(string(header[:]), 16, 16)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNotRefs, err)
	}
	if size == 0 {
		return "", nil
	}
	if size <= 4 {
		return "", fmt.Errorf("%w: a packet of %d bytes", errNotRefs, size)
	}
	line := make([]byte, size-4)
	if _, err := io.ReadFull(in, line); err != nil {
		return "", cutShort(err)
	}
	return string(line), nil
}

// cutShort makes the end of the answer inside the list the server's fault, and leaves other errors.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", errNotRefs)
	}
	return err
}
