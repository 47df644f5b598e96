package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/testbed"
)

func TestMissing(t *testing.T) {
	found := []testbed.Verified{{Platform: "linux/amd64"}, {Platform: "unknown/unknown", Attestation: true}}
	for _, test := range []struct{ name, want, err string }{
		{name: "nothing wanted"},
		{name: "there", want: "linux/amd64"},
		{name: "absent", want: "linux/amd64,linux/arm64,linux/s390x", err: "the index lacks linux/arm64, linux/s390x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := missing(test.want, found)
			if test.err == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, test.err)
		})
	}
}
