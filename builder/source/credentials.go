package source

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"cooper/internal/model"
)

// maxToken bounds what is read of a file that holds a token.
const maxToken = 16 << 10

// Credentials are the tokens and SSH keys of the configuration, by host. The file is read again when it has changed;
// one that cannot be read or understood leaves what was there, and the log says so. It is safe for concurrent use.
type Credentials struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	stamp stamp
	hosts []hostLogin
}

// stamp tells versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
	file     os.FileInfo // for os.SameFile: a file that was renamed into place
}

func (s stamp) same(other stamp) bool {
	return s.modified.Equal(other.modified) && s.size == other.size && (s.file == nil) == (other.file == nil) &&
		(s.file == nil || os.SameFile(s.file, other.file))
}

// hostLogin is what the configuration has for the servers that it serves.
type hostLogin struct {
	rule      rule
	tokenFile string // read at each use, so that a token can be replaced without touching the file that names it
	login
}

// login is how Cooper shows a server who it is. The zero value is nobody.
type login struct {
	username, token    string // for HTTPS
	sshKey, knownHosts string // paths
}

// LoadCredentials reads the file of credentials, which must be there and right at the start. An empty path means none.
func LoadCredentials(path string, log *slog.Logger) (*Credentials, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Credentials{path: path, log: log}
	if path == "" {
		return c, nil
	}
	c.stamp = look(path)
	var err error
	c.hosts, err = readCredentials(path)
	if err != nil {
		return nil, err
	}
	if c.stamp.file != nil && c.stamp.file.Mode().Perm()&0o077 != 0 {
		log.Warn("the file of git credentials can be read by others on this machine: chmod 600 it")
	}
	return c, nil
}

func look(path string) stamp {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{modified: st.ModTime(), size: st.Size(), file: st}
}

// current returns what the file says now, or said last while it was right.
func (c *Credentials) current() []hostLogin {
	if c == nil || c.path == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := look(c.path)
	if now.same(c.stamp) {
		return c.hosts
	}
	c.stamp = now
	hosts, err := readCredentials(c.path)
	if err != nil {
		c.log.Error("changed git credentials cannot be used; the ones from before stay", "error", err)
		return c.hosts
	}
	c.hosts = hosts
	c.log.Info("git credentials read again", "hosts", len(hosts))
	return hosts
}

// serves reports whether what the block holds may be shown to the URL's server. Whoever can listen on a high port of a
// host is not the host's git server, so a block without a port is for the default port of HTTPS and of SSH alone; and
// anybody on the way reads plain HTTP, so that needs a block which names the very port.
func (h hostLogin) serves(u *url.URL) bool {
	host, port := u.Hostname(), portOf(u)
	if h.rule.port == 0 && !hasSafeDefault(u) {
		return false
	}
	addr, _ := netip.ParseAddr(host)
	return h.rule.matchesName(host, port) || h.rule.matchesAddr(addr.Unmap(), port)
}

// hasSafeDefault reports whether the URL is at the port that its scheme has by itself, and the scheme hides what is sent.
func hasSafeDefault(u *url.URL) bool {
	return u.Scheme != "http" && strconv.Itoa(portOf(u)) == defaultPort(u.Scheme)
}

// credentialName is how a block of the file has to name the URL's server to serve it.
func credentialName(u *url.URL) string {
	if hasSafeDefault(u) {
		return u.Hostname()
	}
	return net.JoinHostPort(u.Hostname(), strconv.Itoa(portOf(u)))
}

// find returns the login of the first block that serves the URL; the zero value when none does.
func (c *Credentials) find(field string, u *url.URL) (login, error) {
	for _, h := range c.current() {
		if !h.serves(u) {
			continue
		}
		l := h.login
		if h.tokenFile == "" {
			return l, nil
		}
		token, err := readToken(h.tokenFile)
		if err != nil {
			return login{}, model.FieldErrorf(model.CodeGitAuthRequired, field,
				"The token that this server has for %s cannot be read. Ask its administrator to look at COOPER_GIT_CREDENTIALS.", u.Hostname()).Wrap(err)
		}
		l.token = token
		return l, nil
	}
	return login{}, nil
}

// readToken reads a file whose one line is a token.
func readToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read a token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || len(b) > maxToken || !printable(token) {
		return "", errors.New("read a token: the file does not hold one line of printable ASCII")
	}
	return token, nil
}

// printable reports whether s can be sent in a header and shown to a program without doing anything.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// authorization is the header's value.
// Source: RFC 7617.
func (l login) authorization() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.username+":"+l.token))
}

// redact removes the token, in each form in which it was sent, from what a program or a server wrote.
func (l login) redact(text string) string {
	if l.token == "" {
		return text
	}
	_, encoded, _ := strings.Cut(l.authorization(), " ")
	return strings.NewReplacer(encoded, "[redacted]", l.token, "[redacted]").Replace(text)
}
