package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
)

// trust is which certificate authorities servers are checked against, for Go and for git alike.
type trust struct {
	config *tls.Config
	env    []string // what git is told
}

// loadTrust reads the settings that git and Go know from env. A bundle that is named but cannot be read is an error:
// else every fetch would fail later, and less clearly.
func loadTrust(env []string) (trust, error) {
	set := func(name string) string {
		for _, kv := range env {
			if k, v, _ := strings.Cut(kv, "="); k == name {
				return v
			}
		}
		return ""
	}
	t := trust{config: &tls.Config{MinVersion: tls.VersionTLS12}}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAPATH"} {
		if v := set(name); v != "" {
			t.env = append(t.env, name+"="+v)
		}
	}
	file := set("GIT_SSL_CAINFO")
	if file == "" {
		file = set("SSL_CERT_FILE")
	}
	if file == "" {
		return t, nil
	}
	t.env = append(t.env, "GIT_SSL_CAINFO="+file)
	pem, err := os.ReadFile(file)
	if err != nil {
		return trust{}, fmt.Errorf("read the trusted certificates: %w", err)
	}
	t.config.RootCAs = x509.NewCertPool()
	if !t.config.RootCAs.AppendCertsFromPEM(pem) {
		return trust{}, errors.New("the file of trusted certificates holds none")
	}
	return t, nil
}
