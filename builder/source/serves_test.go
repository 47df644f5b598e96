package source

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The default ports, on which a test cannot listen.
func TestWhichServersABlockServes(t *testing.T) {
	for pattern, urls := range map[string]map[string]bool{
		"git.test": {
			"https://git.test/r": true, "https://git.test:443/r": true, "https://GIT.test./r": true, "ssh://git.test/r": true, "ssh://git.test:22/r": true, "git@git.test:r": true,
			"http://git.test/r": false, "http://git.test:443/r": false, "http://git.test:39017/r": false,
			"https://git.test:8443/r": false, "https://git.test:22/r": false, "https://git.test:80/r": false,
			"ssh://git.test:2222/r": false, "ssh://git.test:443/r": false, "https://x.git.test/r": false,
		},
		"*.corp.test": {"https://a.corp.test/r": true, "git@a.corp.test:r": true, "https://a.corp.test:8443/r": false, "http://a.corp.test/r": false, "https://corp.test/r": false},
		"*.corp.test:8443": {
			"https://a.corp.test:8443/r": true, "http://a.corp.test:8443/r": true, "ssh://a.corp.test:8443/r": true, "https://a.corp.test/r": false, "git@a.corp.test:r": false,
		},
		"git.test:80":      {"http://git.test/r": true, "http://git.test:80/r": true, "https://git.test/r": false, "http://git.test:8080/r": false},
		"git.test:443":     {"https://git.test/r": true, "https://git.test:443/r": true, "http://git.test/r": false, "ssh://git.test/r": false},
		"git.test:22":      {"git@git.test:r": true, "ssh://git.test:2222/r": false, "https://git.test/r": false},
		"192.0.2.7":        {"https://192.0.2.7/r": true, "http://192.0.2.7/r": false, "https://192.0.2.7:8443/r": false, "git@192.0.2.7:r": true},
		"192.0.2.7:8443":   {"https://192.0.2.7:8443/r": true, "https://192.0.2.7/r": false},
		"192.0.2.0/24":     {"https://192.0.2.7/r": true, "http://192.0.2.7/r": false, "http://192.0.2.7:3000/r": false, "ssh://192.0.2.7:2222/r": false},
		"2001:db8::1":      {"https://[2001:db8::1]/r": true, "https://[2001:db8::1]:8443/r": false, "http://[2001:db8::1]/r": false},
		"[2001:db8::1]:80": {"http://[2001:db8::1]/r": true, "https://[2001:db8::1]/r": false},
	} {
		t.Run(pattern, func(t *testing.T) {
			r, err := parseRule(pattern)
			require.NoError(t, err)
			for raw, want := range urls {
				to, err := parseRepository("", raw)
				require.NoError(t, err, raw)
				require.Equal(t, want, hostLogin{rule: r}.serves(to.url), raw)
			}
		})
	}
}

// What an error tells the administrator to add is what serves.
func TestTheNameInErrorsServes(t *testing.T) {
	for raw, want := range map[string]string{
		"https://git.test/r": "git.test", "https://git.test:8443/r": "git.test:8443", "http://git.test/r": "git.test:80", "http://git.test:443/r": "git.test:443",
		"git@git.test:r": "git.test", "ssh://git.test:2222/r": "git.test:2222", "https://[2001:db8::1]/r": "2001:db8::1", "http://[2001:db8::1]:81/r": "[2001:db8::1]:81",
	} {
		to, err := parseRepository("", raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, credentialName(to.url), raw)
		r, err := parseRule(want)
		require.NoError(t, err, raw)
		require.True(t, hostLogin{rule: r}.serves(to.url), raw)
	}
}
