package source

import (
	"net/url"
	"path"
	"strconv"
	"strings"

	"cooper/internal/model"
)

// repository is the address of a git repository in canonical form, so that spellings of one address are one.
type repository struct {
	url *url.URL // https, http or ssh; the latter always with a user
	// home says that the path is below the user's home, as in user@host:path. No ssh:// URL means that everywhere.
	home bool
}

func (r repository) String() string {
	if r.home {
		return r.url.User.Username() + "@" + r.url.Host + ":" + strings.TrimPrefix(r.url.Path, "/")
	}
	return r.url.String()
}

// ParseRepository reads a repository's plain URL: https://, http://, ssh:// or git's short user@host:path. What follows
// a # is refused with a hint: ref and folder of a component have fields of their own. Slashes at the end, the host's case
// and the scheme's own port make no difference to the result; a .git stays as it is written. It asks nobody: Git.Resolve
// says whether the host may be fetched from. The codes are those of Parse.
func ParseRepository(field, raw string) (model.Source, error) {
	plain, _, fragment := strings.Cut(raw, "#")
	r, err := parseRepository(field, plain)
	if err != nil {
		return model.Source{}, err
	}
	if fragment {
		return model.Source{}, model.FieldErrorf(model.CodeSourceInvalid, field,
			"A component's URL has no # in it. Give the branch, tag or commit as tag, and the folder as subdir.")
	}
	return model.Source{URL: r.String()}, nil
}

// CheckSubdir vets a folder inside a repository and returns it clean; the root is "". SOURCE_INVALID.
func CheckSubdir(field, subdir string) (string, error) { return cleanSubdir(field, subdir) }

func parseRepository(field, raw string) (repository, error) {
	if raw == "" || len(raw) > maxURL || raw[0] == '-' {
		return repository{}, invalidURL(field)
	}
	scheme, _, ok := cutScheme(raw)
	switch {
	case ok && (scheme == "ssh" || scheme == "git+ssh" || scheme == "ssh+git"):
		return parseSSH(field, "ssh"+raw[len(scheme):])
	case !ok:
		if user, rest, at := strings.Cut(raw, "@"); at && strings.Contains(rest, ":") && !strings.Contains(user, "/") {
			return parseShortSSH(field, user, rest)
		}
	}
	u, err := parseURL(field, raw)
	if err != nil {
		return repository{}, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return repository{}, model.FieldErrorf(model.CodeSourceInvalid, field, "A repository's URL has no query. Remove the part from the question mark on.")
	}
	u.Fragment, u.RawFragment = "", ""
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return repository{url: u}, plainPath(field, u.Path)
}

// parseSSH reads ssh://[user@]host[:port]/path. Without a user it is git's.
func parseSSH(field, raw string) (repository, error) {
	authority, _, _ := strings.Cut(strings.TrimPrefix(raw, "ssh://"), "/")
	user, host, named := cutLast(authority, "@")
	if !named {
		user, host = "git", authority
	}
	switch {
	case !strings.HasPrefix(raw, "ssh://"), host == "", host[0] == '-':
		return repository{}, invalidURL(field)
	case strings.Contains(user, ":"):
		return repository{}, withPassword(field)
	case !validUser(user):
		return repository{}, invalidURL(field)
	}
	u, err := canonicalURL(field, "ssh://"+strings.TrimPrefix(raw[len("ssh://"):], user+"@"))
	if err != nil {
		return repository{}, err
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path == "" || strings.HasPrefix(u.Path, "/-") {
		return repository{}, invalidURL(field)
	}
	u.User = url.User(user)
	return repository{url: u}, plainPath(field, u.Path)
}

// parseShortSSH reads user@host:path. An absolute path makes it the same as an ssh:// URL.
func parseShortSSH(field, user, rest string) (repository, error) {
	host, where, _ := strings.Cut(rest, ":")
	if strings.HasPrefix(rest, "[") {
		host, where, _ = strings.Cut(rest[1:], "]:")
	}
	host = canonicalHost(host)
	where = strings.TrimRight(where, "/")
	switch {
	case strings.Contains(user, ":"):
		return repository{}, withPassword(field)
	case !validUser(user), !validHost(host), where == "", where[0] == '-':
		return repository{}, invalidURL(field)
	case strings.ContainsFunc(where, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' || r == '?' || r == '#' }):
		return repository{}, invalidURL(field)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	u := &url.URL{Scheme: "ssh", User: url.User(user), Host: host, Path: "/" + strings.TrimPrefix(where, "/")}
	return repository{url: u, home: where[0] != '/'}, plainPath(field, u.Path)
}

// plainPath refuses a path that goes up or stands still on its way: what it means depends on who reads it.
func plainPath(field, p string) error {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." || part == "." || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return invalidURL(field)
		}
	}
	return nil
}

// validUser reports whether an SSH client takes the name for nothing but a name.
func validUser(user string) bool {
	return user != "" && len(user) <= 64 && user[0] != '-' &&
		strings.Trim(user, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+") == ""
}

func withPassword(field string) *model.Error {
	return model.FieldErrorf(model.CodeURLCredentials, field,
		"A URL may not contain a password: it is stored and shown. The server's administrator sets credentials in COOPER_GIT_CREDENTIALS.")
}

// relative resolves ./x and ../x against the repository, as git does for submodules, but never out of its host.
func (r repository) relative(field, ref string) (repository, error) {
	from := *r.url
	from.RawPath = ""
	for part := range strings.SplitSeq(strings.TrimRight(ref, "/"), "/") {
		switch part {
		case ".", "":
		case "..":
			if from.Path == "" || from.Path == "/" {
				return repository{}, invalidURL(field)
			}
			from.Path = strings.TrimSuffix(path.Dir(from.Path), "/")
		default:
			from.Path += "/" + part
		}
	}
	if from.Path == "" || from.Path == "/" {
		return repository{}, invalidURL(field)
	}
	return parseRepository(field, repository{url: &from, home: r.home}.String())
}

// hostKeyName is what an SSH client calls the host in its file of known ones.
// Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
func (r repository) hostKeyName() string {
	host, port := r.url.Hostname(), portOf(r.url)
	if port == 22 {
		return host
	}
	return "[" + host + "]:" + strconv.Itoa(port)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
