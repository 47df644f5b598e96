package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cooper/internal/model"
)

// sshOptions make the SSH client go to the checked address, as the one identity and to the one host key that the
// configuration names, and do nothing else: no file of anybody's settings, no agent, no questions.
func (g *Git) sshOptions(e endpoint) []string {
	seconds := strconv.Itoa(max(1, int(g.config.AnswerTimeout/time.Second)))
	options := []string{
		"HostName=" + e.addrs[0].String(), "HostKeyAlias=" + e.hostKeyName(), "CheckHostIP=no", "CanonicalizeHostname=no",
		"StrictHostKeyChecking=yes", "UserKnownHostsFile=" + e.login.knownHosts, "GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no",
		"VerifyHostKeyDNS=no", "IdentityFile=" + e.login.sshKey, "IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes",
		"PreferredAuthentications=publickey", "ProxyCommand=none", "ProxyJump=none", "PermitLocalCommand=no", "ClearAllForwardings=yes",
		"ForwardAgent=no", "ForwardX11=no", "ControlMaster=no", "ControlPath=none", "Compression=no", "LogLevel=ERROR",
		"ConnectTimeout=" + seconds, "ServerAliveInterval=" + seconds, "ServerAliveCountMax=2",
	}
	args := []string{"-F", "none", "-T"}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	return args
}

// shellWords quotes words for the shell through which git runs its SSH command.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// reachable puts the address that answers first. Programs are given one, not the list.
func (g *Git) reachable(ctx context.Context, e endpoint) endpoint {
	if len(e.addrs) < 2 {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, g.config.AnswerTimeout/2)
	defer cancel()
	c, err := dialFirst(ctx, "tcp", e.addrs, portOf(e.url))
	if err != nil {
		return e // the SSH client says what is wrong
	}
	defer func() { _ = c.Close() }()
	if to, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		e.addrs = []netip.Addr{to.AddrPort().Addr().Unmap()}
	}
	return e
}

// askSSH runs the server's side of a fetch just long enough to read what it advertises.
func (g *Git) askSSH(ctx context.Context, field string, e endpoint, wanted []string) (*refs, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(g.config.AnswerTimeout, func() { cancel(gitTimeout(field, e.url.Hostname())) })
	defer stalled.Stop()

	path := e.url.Path
	if e.home {
		path = strings.TrimPrefix(path, "/")
	} else if strings.HasPrefix(path, "/~") {
		path = path[1:] // as git reads ssh://host/~user/repo
	}
	args := append(g.sshOptions(e), "-p", strconv.Itoa(portOf(e.url)), "-l", e.url.User.Username(), "--", e.url.Hostname(), service+" "+shellWords([]string{path}))
	cmd := g.program(ctx, g.ssh, args...)
	stderr := tail{max: maxStderr}
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run ssh: %w", err)
	}
	found, readErr := readList(bufio.NewReader(io.LimitReader(out, maxAdvertisement)), wanted)
	_, _ = io.WriteString(in, "0000") // nothing is wanted
	_ = in.Close()
	if readErr != nil {
		_, _ = io.Copy(io.Discard, out) // until it ends by itself, so that it can say why
	}
	waitErr := cmd.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if readErr == nil {
		return found, nil
	}
	failed := &gitError{command: "ssh", stderr: stderr.String(), cause: errors.Join(waitErr, readErr)}
	return nil, sshError(field, e, failed, failed)
}

// sshError translates what the SSH client, or git at its other end, wrote.
func sshError(field string, e endpoint, failed *gitError, cause error) error {
	host := e.url.Hostname()
	switch {
	case failed.says("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED", "host key is known"):
		return model.FieldErrorf(model.CodeGitTLS, field,
			"The SSH host key of %s is not the one that this server knows. Ask its administrator to look at known_hosts in COOPER_GIT_CREDENTIALS.", host).Wrap(cause)
	case failed.says("Permission denied", "Load key", "Too many authentication failures"):
		return e.authRequired(field).Wrap(cause)
	case failed.says("does not appear to be a git repository", "not found", "No such file", "does not exist", "not exported"):
		return repoNotFound(field, host).Wrap(cause)
	case failed.says("timed out"):
		return gitTimeout(field, host).Wrap(cause)
	case failed.says("Connection refused", "Connection closed", "Connection reset", "No route to host", "unreachable",
		"kex_exchange_identification", "Could not read from remote", "hung up", "early EOF", "unexpected disconnect", "Broken pipe"):
		return unreachable(field, host).Wrap(cause)
	case failed.command == "ssh":
		return notARepo(field, e).Wrap(cause)
	}
	return cause
}

func withoutKey(field string, u *url.URL) *model.Error {
	return model.FieldErrorf(model.CodeURLSchemeNotAllowed, field,
		"This server has no SSH key for %s. Use the repository's https:// URL, or ask the server's administrator to add ssh_key and known_hosts for it to COOPER_GIT_CREDENTIALS.", credentialName(u))
}
