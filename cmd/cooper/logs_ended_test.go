package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// The log of a build that has just ended is whole at every moment, also while it moves from the stream to the disk.
func TestLogIsWholeWhileItIsStored(t *testing.T) {
	s := startServer(t, nil)
	for i := range 10 {
		mark := fmt.Sprintf("mark-%d", i)
		r := s.mustBuild("FROM scratch\nLABEL a="+mark+"\nCOPY <<E /a\n"+mark+"\nE\n", "component", "ended")
		id := r.str("buildId")
		whole := s.logText(id)
		for range 100 {
			require.Equal(t, whole, s.logText(id), "round %d", i)
		}
		require.Contains(t, whole, "COPY <<E /a")
	}
}
