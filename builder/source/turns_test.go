package source

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(4)
		take := func(host string) (func(), error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return turns.take(ctx, host)
		}
		first, err := take("slow")
		require.NoError(t, err)
		second, err := take("slow")
		require.NoError(t, err)
		_, err = take("slow")
		require.Equal(t, model.CodeUnavailable, model.CodeOf(err), "one host gets half of them")
		third, err := take("other")
		require.NoError(t, err)
		fourth, err := take("another")
		require.NoError(t, err)
		_, err = take("a third")
		require.Equal(t, model.CodeUnavailable, model.CodeOf(err))

		waits := make(chan error, 1)
		go func() {
			done, err := turns.take(t.Context(), "slow")
			if err == nil {
				done()
			}
			waits <- err
		}()
		synctest.Wait()
		third() // a turn, and not for this host
		synctest.Wait()
		require.Empty(t, waits)
		first()
		require.NoError(t, <-waits)
		second()
		fourth()
		require.Equal(t, 4, turns.free)
		require.Empty(t, turns.busy)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		one := newTurns(1)
		_, err = one.take(ctx, "x")
		require.NoError(t, err, "there is one")
		_, err = one.take(ctx, "x")
		require.ErrorIs(t, err, context.Canceled)
	})
}
