package source_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

// The rows B91 to B93 and B98 of the list of bad inputs, through every way in which a component reaches a server.
func TestComponentsReachNothingThatIsDenied(t *testing.T) {
	var hits atomic.Int32
	inner := web(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	_, port, err := net.SplitHostPort(inner.host())
	require.NoError(t, err)
	commit := strings.Repeat("ab", 20)
	policy := newPolicy(t, source.PolicyConfig{OwnPorts: []int{8080}, Lookup: names(map[string]string{"pub.test": "140.82.121.3", "localtest.test": "127.0.0.1"})})
	g := newGit(t, func(c *source.GitConfig) { c.Policy = policy })
	hosts := []string{
		"169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "localhost", "127.1", "0.0.0.0", "[::1]", "[::ffff:7f00:1]", "0x7f000001",
		"2130706433", "017700000001", "[::]", "localhost.", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "127.0.0.1", "localtest.test",
	}
	urls := map[string]model.Code{}
	for _, h := range hosts {
		for _, form := range []string{"http://%s:%s/r", "https://%s:%s/r", "ssh://git@%s:%s/r"} {
			urls[fmt.Sprintf(form, h, port)] = model.CodeURLHostDenied
		}
		urls["git@"+h+":r"] = model.CodeURLHostDenied
	}
	for _, p := range []string{"25", "6379", "8080"} {
		urls["https://pub.test:"+p+"/r"], urls["ssh://pub.test:"+p+"/r"] = model.CodeURLPortDenied, model.CodeURLPortDenied
	}
	urls["https://pub.test:22/r"] = model.CodeURLPortDenied
	urls["ssh://git@pub.test/r"], urls["git@pub.test:r"] = model.CodeURLSchemeNotAllowed, model.CodeURLSchemeNotAllowed
	for raw, code := range urls {
		s, err := source.ParseRepository("url", raw)
		require.NoError(t, err, raw)
		_, err = g.Resolve(t.Context(), "url", s)
		require.Equal(t, code, model.CodeOf(err), "%s: %v", raw, err)
		require.Equal(t, "url", model.AsError(err).Field)
		s.Commit = commit
		_, err = g.Tree(t.Context(), s)
		require.Equal(t, code, model.CodeOf(err), "%s: %v", raw, err)
		require.Equal(t, code, model.CodeOf(g.FetchComponent(t.Context(), s, t.TempDir(), true)), raw)
	}
	require.Zero(t, hits.Load())
}
