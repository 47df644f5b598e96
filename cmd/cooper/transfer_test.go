package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestATransferWithoutATerminal(t *testing.T) {
	var out strings.Builder
	shown := newTransfer(&out)
	shown.progress(1<<20, 4<<20)
	shown.progress(2<<20, 4<<20) // too soon for another line
	shown.broken(errors.New("unexpected EOF"), 2<<20)
	shown.progress(4<<20, 4<<20)
	shown.end()
	require.Equal(t, "downloaded 1.0 of 4.0 MiB\nthe download broke off at 2.0 MiB: unexpected EOF; trying again\ndownloaded 4.0 of 4.0 MiB\n", out.String())

	out.Reset()
	shown = newTransfer(&out)
	shown.progress(1<<20, 0)
	shown.end()
	require.Equal(t, "downloaded 1.0 MiB\n", out.String())
	newTransfer(&out).end()
}

// terminal opens a pseudo-terminal of that many columns; what is written to it comes out at the other end.
func terminal(t *testing.T, columns uint16) (outer, inner *os.File) {
	t.Helper()
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { outer.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(int(inner.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: min(columns, 24), Col: columns}))
	return outer, inner
}

func TestATransferOnATerminal(t *testing.T) {
	for name, last := range map[string]int64{"complete": 4 << 20, "broken off": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			outer, inner := terminal(t, 120)
			said := make(chan string)
			go func() {
				raw, _ := io.ReadAll(outer) // ends with EIO when the inner end is closed
				said <- string(raw)
			}()
			shown := newTransfer(inner)
			shown.progress(1<<20, 4<<20)
			shown.broken(errors.New("unexpected EOF"), 1<<20)
			shown.progress(2<<20, 4<<20)
			shown.progress(last, 4<<20)
			shown.end()
			require.NoError(t, inner.Close())
			text := <-said
			require.Contains(t, text, fmt.Sprintf("%.1f MiB / 4.0 MiB", float64(last)/(1<<20)))
			require.Contains(t, text, "the download broke off at 1.0 MiB: unexpected EOF; trying again")
			require.Contains(t, text, "\x1b[", "it is drawn in place")
		})
	}
}

// A terminal that does not say how large it is, as under script or ssh without a terminal of one's own, had no bar drawn
// on it and nothing told either.
func TestATransferOnATerminalWithoutASize(t *testing.T) {
	outer, inner := terminal(t, 0)
	said := make(chan string)
	go func() {
		raw, _ := io.ReadAll(outer)
		said <- string(raw)
	}()
	shown := newTransfer(inner)
	shown.progress(1<<20, 4<<20)
	shown.progress(4<<20, 4<<20)
	shown.end()
	require.NoError(t, inner.Close())
	require.Equal(t, "downloaded 1.0 of 4.0 MiB\r\ndownloaded 4.0 of 4.0 MiB\r\n", <-said)
}
