package buildkit

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// An epoch keeps nothing cached behind a WORKDIR, though nothing there uses it: it is only given to a Dockerfile that
// asks for it.
func exportedEpoch(t *testing.T, b *bench) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name, text string
		args       map[string]string
		made       string // with the epoch at
		cached     int    // steps, of those that were built with another epoch
	}{
		{name: "not asked for", text: "FROM BUSYBOX\nCOPY <<E /x\nE\nRUN echo \"$SOURCE_DATE_EPOCH\" >/made\n", made: "\n", cached: 2},
		{name: "not asked for, behind a WORKDIR", text: "FROM BUSYBOX\nWORKDIR /src\nRUN echo \"$SOURCE_DATE_EPOCH\" >/made\n", made: "\n", cached: 0},
		{name: "asked for", text: "FROM BUSYBOX\nRUN true\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/made\n", made: fmt.Sprintf("%d\n", at.Unix()), cached: 1},
		{
			name: "a build arg goes before it", text: "FROM BUSYBOX\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/made\n",
			args: map[string]string{"SOURCE_DATE_EPOCH": "7"}, made: "7\n", cached: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := b.solve(test.text)
			s.BuildArgs = test.args
			s.Epoch = at.Add(time.Hour)
			b.cachedSteps(t, s)
			s.Epoch = at
			steps, made := b.cachedSteps(t, s)
			require.Equal(t, test.made, made)
			require.Equal(t, test.cached, steps)
		})
	}
}

// cachedSteps builds s and returns how many of its instructions were cached, and what it made.
func (b *bench) cachedSteps(t *testing.T, s Solve) (steps int, made string) {
	t.Helper()
	var out bytes.Buffer
	_, err := b.Export(t.Context(), s, &out, func(l model.LogLine) error {
		if instruction.MatchString(l.Step) && string(l.Text) == cached {
			steps++
		}
		return nil
	})
	require.NoError(t, err)
	return steps, contentOf(t, &out, "made")
}
