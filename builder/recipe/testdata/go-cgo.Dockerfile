# Cooper wrote this for a Go module, because there is a file go.mod.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.
# It needs a named context zlib: the component zlib at v1.3.

FROM golang:1.26-bookworm AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

RUN <<'EOF'
set -e # Tools that the image may lack
missing= apt= apk=
for tool in go:golang-go,ca-certificates:go; do
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
for name in go; do
  command -v "$name" >/dev/null && continue
  echo "$name is not in the image and could not be installed. Name an image that has it: image in a component block of .cooper/component.hcl, or images in the OS environment." >&2
  exit 1
done
EOF

# Where steps find what this component depends on.
ENV CMAKE_PREFIX_PATH=/deps/zlib
ENV PKG_CONFIG_PATH=/deps/zlib/lib/pkgconfig:/deps/zlib/lib64/pkgconfig:/deps/zlib/share/pkgconfig:/deps/zlib/lib/x86_64-linux-gnu/pkgconfig:/deps/zlib/lib/aarch64-linux-gnu/pkgconfig
ENV CPATH=/deps/zlib/include
ENV LIBRARY_PATH=/deps/zlib/lib:/deps/zlib/lib64:/deps/zlib/lib/x86_64-linux-gnu:/deps/zlib/lib/aarch64-linux-gnu
ENV LD_LIBRARY_PATH=/deps/zlib/lib:/deps/zlib/lib64:/deps/zlib/lib/x86_64-linux-gnu:/deps/zlib/lib/aarch64-linux-gnu
ENV PATH=/deps/zlib/bin:$PATH
ENV GOMODCACHE=/root/.cache/go-mod
ENV GOCACHE=/root/.cache/go-build

WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH
ARG CGO_ENABLED=1
ARG GOFLAGS=""
ARG GO_PACKAGES=./...

RUN --mount=type=bind,from=zlib,target=/deps/zlib \
    --mount=type=cache,target=/root/.cache/go-mod \
    --mount=type=cache,target=/root/.cache/go-build \
    <<'EOF'
set -e # Build
programs=$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' $GO_PACKAGES)
if [ -z "$programs" ]; then
  module=/out/usr/local/src/$(go list -m)
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
mkdir -p /out/usr/local/bin
go build -trimpath -o /out/usr/local/bin/ $programs
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
