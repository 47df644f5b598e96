package recipe

// goWork compiles all programs of the module, for the target on the worker's own platform, which needs no emulation. An
// author who wants cgo gets the target's platform instead, as its C compiler is the one that fits.
func goWork(p project) work {
	w := work{
		native: true, tools: goTools, output: installed,
		env: []setting{{"GOMODCACHE", "/root/.cache/go-mod"}, {"GOCACHE", "/root/.cache/go-build"}},
		args: map[string]string{
			"CGO_ENABLED": "0", "GOFLAGS": "", "GO_PACKAGES": "./...",
		},
		caches: []cache{{path: "/root/.cache/go-mod"}, {path: "/root/.cache/go-build"}},
	}
	platform := `export GOOS="$TARGETOS" GOARCH="$TARGETARCH"
[ "$TARGETARCH" != arm ] || export GOARM="${TARGETVARIANT#v}"
`
	if p.wants("CGO_ENABLED", "1") {
		w.native, platform = false, ""
	}
	w.steps = []step{{"Build", platform + goScript}}
	return w
}

// goScript installs the programs, or the sources of a module that has none.
const goScript = `programs=$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' $GO_PACKAGES)
if [ -z "$programs" ]; then
  module=` + installed + `/src/$(go list -m)
  echo "The module has no programs: its sources go to ${module#/out}."
  mkdir -p "$module"
  cp -a . "$module"
  exit 0
fi
twice=$(go list -f '{{.Target}}' $programs | sed 's|.*/||' | sort | uniq -d)
[ -z "$twice" ] || {
  echo "Several programs of the module are called" $twice. "Choose with the build arg GO_PACKAGES." >&2
  exit 1
}
mkdir -p ` + installed + `/bin
go build -trimpath -o ` + installed + `/bin/ $programs`
