package recipe

import (
	"slices"
	"strings"
)

// tool is a program and the packages that bring it.
type tool struct {
	program string
	apt     string // packages of Debian and Ubuntu, separated by commas
	apk     string // packages of Alpine
}

// The tools of the kinds of projects. A missing C compiler brings one for C++ along.
var (
	cTools     = []tool{{"cc", "gcc,g++,libc6-dev", "gcc,g++,musl-dev"}, {"make", "make", "make"}}
	cmakeTools = append(slices.Clone(cTools), tool{"cmake", "cmake", "cmake"})
	mesonTools = []tool{cTools[0], {"meson", "meson,ninja-build,pkg-config", "meson,ninja,pkgconf"}}
	autoTools  = append(slices.Clone(cTools), tool{"autoreconf", "autoconf,automake,libtool,pkg-config", "autoconf,automake,libtool,pkgconf"})
	goTools    = []tool{{"go", "golang-go,ca-certificates", "go"}}
	rustTools  = []tool{{"cargo", "cargo,ca-certificates", "cargo"}}
	nodeTools  = []tool{{"npm", "npm,ca-certificates", "npm"}}
	pipTools   = []tool{{"pip3", "python3-pip,python3-venv,ca-certificates", "py3-pip"}}
	mavenTools = []tool{{"mvn", "maven,ca-certificates", "maven"}}
)

// toolScript installs what the image does not have. An image that has everything needs no network.
func toolScript(tools []tool) string {
	var names, words []string
	for _, t := range tools {
		names = append(names, t.program)
		words = append(words, t.program+":"+t.apt+":"+t.apk)
	}
	return strings.NewReplacer("TOOLS", strings.Join(words, " "), "NAMES", strings.Join(names, " ")).Replace(`missing= apt= apk=
for tool in TOOLS; do
  name=${tool%%:*} packages=${tool#*:}
  command -v "$name" >/dev/null && continue
  missing="$missing $name" apt="$apt,${packages%%:*}" apk="$apk,${packages#*:}"
done
[ -n "$missing" ] || exit 0
echo "The image lacks$missing, which this step installs."
if command -v apt-get >/dev/null; then
  apt-get update && apt-get install -y --no-install-recommends $(echo "$apt" | tr , ' ') || true
  rm -rf /var/lib/apt/lists/*
elif command -v apk >/dev/null; then
  apk add --no-cache $(echo "$apk" | tr , ' ') || true
fi
for name in NAMES; do
  command -v "$name" >/dev/null && continue
  echo "$name is not in the image and could not be installed. Name an image that has it: image in a component block of .cooper/component.hcl, or images in the OS environment." >&2
  exit 1
done`)
}
