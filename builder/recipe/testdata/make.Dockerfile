# Cooper wrote this for a project with a Makefile, because there is a file GNUmakefile.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.

FROM gcc:14-bookworm AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

RUN <<'EOF'
set -e # Tools that the image may lack
missing= apt= apk=
for tool in cc:gcc,g++,libc6-dev:gcc,g++,musl-dev make:make:make; do
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
for name in cc make; do
  command -v "$name" >/dev/null && continue
  echo "$name is not in the image and could not be installed. Name an image that has it: image in a component block of .cooper/component.hcl, or images in the OS environment." >&2
  exit 1
done
EOF
ENV PATH="/usr/lib/ccache:$PATH"
ENV CCACHE_DIR=/root/.cache/ccache

WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH
ARG MAKE_ARGS=""

# Build
RUN --mount=type=cache,target=/root/.cache/ccache \
    make -j"$(nproc)" PREFIX=/usr/local prefix=/usr/local $MAKE_ARGS

RUN --mount=type=cache,target=/root/.cache/ccache \
    <<'EOF'
set -e # Install
make -n install DESTDIR=/out PREFIX=/usr/local prefix=/usr/local $MAKE_ARGS >/dev/null || {
  echo "GNUmakefile has no install target that works. Add one that puts files below \$(DESTDIR)\$(PREFIX), or say in .cooper/component.hcl how to build this." >&2
  exit 1
}
mkdir -p /out/usr/local/bin /out/usr/local/lib /out/usr/local/include
make install DESTDIR=/out PREFIX=/usr/local prefix=/usr/local $MAKE_ARGS
[ -n "$(find /out/usr/local ! -type d | head -n 1)" ] || {
  echo "Nothing is below DESTDIR: installing once more, with PREFIX=/out/usr/local instead."
  make install PREFIX=/out/usr/local prefix=/out/usr/local $MAKE_ARGS
  find /out/usr/local -name '*.pc' -exec sed -i 's|/out/usr/local|/usr/local|g' {} +
  find /out/usr/local -type l | while read -r link; do
    to=$(readlink "$link")
    case $to in "${link%/*}"/*) ln -sfn "${to##*/}" "$link" ;; /out/usr/local/*) ln -sfn "/usr/local${to#/out/usr/local}" "$link" ;; esac
  done
}
[ -n "$(find /out/usr/local ! -type d 2>/dev/null | head -n 1)" ] || {
  echo "/out/usr/local is empty after the install step: the project installs nothing, or it ignores DESTDIR or the prefix /usr/local. Say in .cooper/component.hcl how to build it, or give options in the build arg MAKE_ARGS." >&2
  exit 1
}
rmdir /out/usr/local/bin /out/usr/local/lib /out/usr/local/include 2>/dev/null || true
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
