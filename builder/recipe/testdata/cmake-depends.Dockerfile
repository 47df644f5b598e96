# Cooper wrote this for a CMake project, because there is a file CMakeLists.txt.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.
# It needs a named context zlib: the component zlib at v1.3.
# It needs a named context team/png: the component team/png at main.

FROM gcc:14-bookworm AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

RUN <<'EOF'
set -e # Tools that the image may lack
missing= apt= apk=
for tool in cc:gcc,g++,libc6-dev:gcc,g++,musl-dev make:make:make cmake:cmake:cmake; do
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
for name in cc make cmake; do
  command -v "$name" >/dev/null && continue
  echo "$name is not in the image and could not be installed. Name an image that has it: image in a component block of .cooper/component.hcl, or images in the OS environment." >&2
  exit 1
done
EOF

# Where steps find what this component depends on.
ENV CMAKE_PREFIX_PATH=/deps/zlib:/deps/team/png
ENV PKG_CONFIG_PATH=/deps/zlib/lib/pkgconfig:/deps/zlib/lib64/pkgconfig:/deps/zlib/share/pkgconfig:/deps/zlib/lib/x86_64-linux-gnu/pkgconfig:/deps/zlib/lib/aarch64-linux-gnu/pkgconfig:/deps/team/png/lib/pkgconfig:/deps/team/png/lib64/pkgconfig:/deps/team/png/share/pkgconfig:/deps/team/png/lib/x86_64-linux-gnu/pkgconfig:/deps/team/png/lib/aarch64-linux-gnu/pkgconfig
ENV CPATH=/deps/zlib/include:/deps/team/png/include
ENV LIBRARY_PATH=/deps/zlib/lib:/deps/zlib/lib64:/deps/zlib/lib/x86_64-linux-gnu:/deps/zlib/lib/aarch64-linux-gnu:/deps/team/png/lib:/deps/team/png/lib64:/deps/team/png/lib/x86_64-linux-gnu:/deps/team/png/lib/aarch64-linux-gnu
ENV LD_LIBRARY_PATH=/deps/zlib/lib:/deps/zlib/lib64:/deps/zlib/lib/x86_64-linux-gnu:/deps/zlib/lib/aarch64-linux-gnu:/deps/team/png/lib:/deps/team/png/lib64:/deps/team/png/lib/x86_64-linux-gnu:/deps/team/png/lib/aarch64-linux-gnu
ENV PATH=/deps/zlib/bin:/deps/team/png/bin:$PATH
ENV PATH="/usr/lib/ccache:$PATH"
ENV CCACHE_DIR=/root/.cache/ccache

WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH
ARG CMAKE_ARGS=-DX=1

# Configure
RUN --mount=type=bind,from=zlib,target=/deps/zlib \
    --mount=type=bind,from=team/png,target=/deps/team/png \
    --mount=type=cache,target=/root/.cache/ccache \
    cmake -S . -B /build -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr/local -DCMAKE_INSTALL_LIBDIR=lib $CMAKE_ARGS

# Build
RUN --mount=type=bind,from=zlib,target=/deps/zlib \
    --mount=type=bind,from=team/png,target=/deps/team/png \
    --mount=type=cache,target=/root/.cache/ccache \
    cmake --build /build --parallel "$(nproc)"

RUN --mount=type=bind,from=zlib,target=/deps/zlib \
    --mount=type=bind,from=team/png,target=/deps/team/png \
    --mount=type=cache,target=/root/.cache/ccache \
    <<'EOF'
set -e # Install
DESTDIR=/out cmake --install /build
[ -n "$(find /out/usr/local ! -type d 2>/dev/null | head -n 1)" ] || {
  echo "/out/usr/local is empty after the install step: the project installs nothing, or it ignores DESTDIR or the prefix /usr/local. Say in .cooper/component.hcl how to build it, or give options in the build arg CMAKE_ARGS." >&2
  exit 1
}
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
