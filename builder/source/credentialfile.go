package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const maxCredentials = 1 << 20

// credentialFile is the file's shape: blocks of which the first that serves a repository's server counts. The label is a
// host, *.domain, IP address or network, or one of the first three with a port:
//
//	host "git.example.com"      { token_file = "/etc/cooper/token" } # https:// on port 443, ssh:// on port 22
//	host "git.example.com:8443" { token_file = "/etc/cooper/token" } # this port alone, https:// and http://
//
// Without a port a block is for the scheme's default port and never for plain HTTP: a token is sent over http:// only
// when the block names the port, 80 too. A network cannot name one.
type credentialFile struct {
	Hosts []struct {
		Pattern    string `hcl:"pattern,label"`
		Username   string `hcl:"username,optional"`
		Token      string `hcl:"token,optional"`
		TokenFile  string `hcl:"token_file,optional"`
		SSHKey     string `hcl:"ssh_key,optional"`
		KnownHosts string `hcl:"known_hosts,optional"`
	} `hcl:"host,block"`
}

// readCredentials reads and checks the file. Its errors name lines and settings, and never a value.
func readCredentials(path string) ([]hostLogin, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the git credentials: %w", err)
	}
	if len(text) > maxCredentials {
		return nil, errors.New("read the git credentials: the file is larger than 1 MiB")
	}
	file, err := parseCredentials(filepath.Base(path), text)
	if err != nil {
		return nil, fmt.Errorf("read the git credentials: %w", err)
	}
	var hosts []hostLogin
	for _, h := range file.Hosts {
		r, err := parseRule(h.Pattern)
		if err != nil {
			return nil, fmt.Errorf("git credentials: host %q is not a host, host:port, *.domain, IP address or network", h.Pattern)
		}
		l := hostLogin{rule: r, tokenFile: h.TokenFile, login: login{h.Username, h.Token, h.SSHKey, h.KnownHosts}}
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("git credentials: host %q: %w", h.Pattern, err)
		}
		if l.username == "" {
			l.username = "git" // servers that take tokens do not mind, but want one
		}
		hosts = append(hosts, l)
	}
	return hosts, nil
}

// parseCredentials reads the text as HCL. The parser is not ours: when it panics, what it says is dropped, because it may
// quote the file, and a server that runs goes on with the credentials that it has.
func parseCredentials(name string, text []byte) (file credentialFile, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the file cannot be parsed: take out what is unusual in it")
		}
	}()
	parsed, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	if !diags.HasErrors() {
		diags = gohcl.DecodeBody(parsed.Body, nil, &file)
	}
	if diags.HasErrors() {
		return credentialFile{}, errors.New(places(diags))
	}
	return file, nil
}

// places lists what is wrong and where, without the details, which may quote the file.
func places(diags hcl.Diagnostics) string {
	var list []string
	for _, d := range diags {
		at := ""
		if d.Subject != nil {
			at = fmt.Sprintf("%s:%d,%d: ", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column)
		}
		list = append(list, at+d.Summary)
	}
	return strings.Join(list, "; ")
}

// check refuses a block that could not be used, or would be used in a way that its author did not mean.
func (h hostLogin) check() error {
	switch {
	case h.token != "" && h.tokenFile != "":
		return errors.New("give token or token_file, not both")
	case h.token == "" && h.tokenFile == "" && h.sshKey == "":
		return errors.New("give token, token_file or ssh_key")
	case !printable(h.token) || !printable(h.username) || strings.Contains(h.username, ":"):
		return errors.New("username and token are printable ASCII without spaces, the name without colons")
	case (h.sshKey == "") != (h.knownHosts == ""):
		return errors.New("ssh_key and known_hosts go together: a server whose key is not known is not talked to")
	}
	for name, path := range map[string]string{"token_file": h.tokenFile, "ssh_key": h.sshKey, "known_hosts": h.knownHosts} {
		if path == "" {
			continue
		}
		// ssh splits and expands such paths by rules of its own.
		if !filepath.IsAbs(path) || !printable(path) || strings.ContainsAny(path, `%$~"'\`) {
			return fmt.Errorf("%s is an absolute path without spaces, quotes and %%, $, ~ or \\", name)
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
