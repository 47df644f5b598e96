# Cooper wrote this for a project with a configure script, because there is a file configure.
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
ARG CONFIGURE_ARGS=""

RUN --mount=type=cache,target=/root/.cache/ccache \
    <<'EOF'
set -e # Configure
find . -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
chmod +x configure
./configure --prefix=/usr/local $CONFIGURE_ARGS
EOF

# Build
RUN --mount=type=cache,target=/root/.cache/ccache \
    make -j"$(nproc)"

RUN --mount=type=cache,target=/root/.cache/ccache \
    <<'EOF'
set -e # Install
make install DESTDIR=/out
[ -n "$(find /out/usr/local ! -type d 2>/dev/null | head -n 1)" ] || {
  echo "/out/usr/local is empty after the install step: the project installs nothing, or it ignores DESTDIR or the prefix /usr/local. Say in .cooper/component.hcl how to build it, or give options in the build arg CONFIGURE_ARGS." >&2
  exit 1
}
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
