package source

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"

	"cooper/internal/model"
)

// errMissing means that the server did not give the object that was asked for.
var errMissing = errors.New("the server has no such object, or does not give it")

// fetchError translates what git wrote about a failed exchange with the server; an error that it does not know is
// returned as it is, and may be the cached repository's fault.
func fetchError(e endpoint, err error) error {
	failed, ok := asGitError(err)
	if !ok {
		return err
	}
	host := e.url.Hostname()
	failed = &gitError{stderr: strings.ReplaceAll(failed.stderr, e.String(), "")} // its words are the user's
	switch {
	case failed.says("not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref"):
		return errors.Join(errMissing, err)
	case failed.says("over limit"):
		return tooLarge().Wrap(err)
	case failed.says("No space left on device"):
		return storageFull().Wrap(err)
	case failed.says("returned error: 401", "returned error: 403", "Authentication failed", "could not read Username"):
		return e.authRequired("").Wrap(err)
	case e.url.Scheme == "ssh":
		return sshError("", e, failed, err)
	case failed.says("returned error: 404", "returned error: 410"), failed.says("fatal: repository '") && failed.says("not found"):
		return repoNotFound("", host).Wrap(err)
	case failed.says("returned error: 30"):
		return redirectDenied("", e).Wrap(err)
	case failed.says("SSL", "TLS", "certificate verif"):
		return tlsFailed("", host).Wrap(err)
	case failed.says("timed out", "Operation too slow"):
		return gitTimeout("", host).Wrap(err)
	case failed.says("unable to access", "RPC failed", "early EOF", "unexpected disconnect", "hung up"):
		return unreachable("", host).Wrap(err)
	}
	return err
}

// badAnswer makes an error of git fetch, in a repository that is new and nobody's fault, one of what the server sent.
func badAnswer(err error) error {
	failed, ok := asGitError(err)
	if !ok || failed.command != "fetch" || isCoded(err) || errors.Is(err, errMissing) || failed.local() {
		return err
	}
	return model.Errorf(model.CodeGitUnreachable,
		"What the repository's server sent is not what git understands. Try again later, or tell the administrator of that server.").Wrap(err)
}

// local reports whether it was this machine that kept git from its work.
func (e *gitError) local() bool {
	var exit *exec.ExitError
	if errors.As(e.cause, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return true
		}
	}
	return e.says("ut of memory", "ermission denied", "nable to create", "oo many open files", "ead-only file system", "died of signal", "annot fork", "nput/output error")
}

func (e endpoint) authRequired(field string) *model.Error {
	host := e.url.Hostname()
	if e.login != (login{}) {
		return model.FieldErrorf(model.CodeGitAuthRequired, field,
			"The server %s refuses the credentials that this server has for it, or they give no access to this repository. Check its spelling, or ask this server's administrator.", host)
	}
	return model.FieldErrorf(model.CodeGitAuthRequired, field,
		"The server %s asks for credentials: the repository is private or does not exist. Use a public one, or ask this server's administrator to add %s to COOPER_GIT_CREDENTIALS.", host, credentialName(e.url))
}

func repoNotFound(field, host string) *model.Error {
	return model.FieldErrorf(model.CodeGitRepoNotFound, field, "The server %s has no repository at this path. Check its spelling.", host)
}

func tlsFailed(field, host string) *model.Error {
	return model.FieldErrorf(model.CodeGitTLS, field,
		"A trusted TLS connection to %s could not be made: its certificate is not valid here, or it does not speak TLS on this port.", host)
}

func gitTimeout(field, host string) *model.Error {
	return model.FieldErrorf(model.CodeGitTimeout, field, "The server %s did not answer in time. Try again later.", host)
}

func unreachable(field, host string) *model.Error {
	return model.FieldErrorf(model.CodeGitUnreachable, field,
		"The server %s could not be reached, or broke off. Check the URL, and try again later.", host)
}

func storageFull() *model.Error {
	return model.Errorf(model.CodeStorageFull, "The server's disk is too full to fetch the repository. Try again later, or ask its administrator to free space.")
}

func tooLarge() *model.Error {
	return model.Errorf(model.CodeRepoTooLarge, "The repository is larger than this server fetches. Use a smaller one, or upload only what the build needs.")
}

func tooManyFiles() *model.Error {
	return model.Errorf(model.CodeRepoTooManyFiles, "The repository has more files than this server fetches. Use a smaller one, or upload only what the build needs.")
}

func refNotFound(field, ref string) *model.Error {
	switch {
	case isDefault(ref):
		return model.FieldErrorf(model.CodeRefNotFound, field, "The repository has no default branch. Name a branch, a tag or a commit.")
	case isCommit(ref):
		return model.FieldErrorf(model.CodeRefNotFound, field, "The repository has no commit %s, or its server does not give it.", ref)
	case isShortCommit(ref):
		return model.FieldErrorf(model.CodeRefNotFound, field,
			"The repository has no branch or tag %q, and none of them holds a commit that starts so.", ref)
	case len(ref) >= 4 && len(ref) < minShort && isHex(ref):
		return model.FieldErrorf(model.CodeRefNotFound, field,
			"The repository has no branch or tag %q. If it is a commit, give at least %d digits of its ID.", ref, minShort)
	}
	return model.FieldErrorf(model.CodeRefNotFound, field, "The repository has no branch or tag %q. Check its spelling.", ref)
}
