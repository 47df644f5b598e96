# Cooper wrote this from the component block in .cooper/component.hcl.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.
# It needs a named context team/png: the component team/png at v1.6.
# It needs a named context xml: the component xml at release/2.

FROM gcc:14-bookworm AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

# Where steps find what this component depends on.
ENV CMAKE_PREFIX_PATH=/deps/team/png:/deps/xml
ENV PKG_CONFIG_PATH=/deps/team/png/lib/pkgconfig:/deps/team/png/lib64/pkgconfig:/deps/team/png/share/pkgconfig:/deps/team/png/lib/x86_64-linux-gnu/pkgconfig:/deps/team/png/lib/aarch64-linux-gnu/pkgconfig:/deps/xml/lib/pkgconfig:/deps/xml/lib64/pkgconfig:/deps/xml/share/pkgconfig:/deps/xml/lib/x86_64-linux-gnu/pkgconfig:/deps/xml/lib/aarch64-linux-gnu/pkgconfig
ENV CPATH=/deps/team/png/include:/deps/xml/include
ENV LIBRARY_PATH=/deps/team/png/lib:/deps/team/png/lib64:/deps/team/png/lib/x86_64-linux-gnu:/deps/team/png/lib/aarch64-linux-gnu:/deps/xml/lib:/deps/xml/lib64:/deps/xml/lib/x86_64-linux-gnu:/deps/xml/lib/aarch64-linux-gnu
ENV LD_LIBRARY_PATH=/deps/team/png/lib:/deps/team/png/lib64:/deps/team/png/lib/x86_64-linux-gnu:/deps/team/png/lib/aarch64-linux-gnu:/deps/xml/lib:/deps/xml/lib64:/deps/xml/lib/x86_64-linux-gnu:/deps/xml/lib/aarch64-linux-gnu
ENV PATH=/deps/team/png/bin:/deps/xml/bin:$PATH
ENV CFLAGS="-O2 -g"
ENV PATH="/opt/bin:$PATH"

RUN mkdir -p /out/usr/local
WORKDIR /build
COPY . .
ARG SOURCE_DATE_EPOCH
ARG EMPTY=""
ARG FAST=true
ARG GREETING="it's \"\$5\""
ARG JOBS=4
ARG VERSION=1.3

# configure
RUN --mount=type=bind,from=team/png,target=/deps/team/png \
    --mount=type=bind,from=xml,target=/deps/xml \
    --mount=type=cache,target=/root/.cache/ccache \
    --mount=type=cache,target=/build/.deps \
    ./configure --prefix=/usr/local

RUN --mount=type=bind,from=team/png,target=/deps/team/png \
    --mount=type=bind,from=xml,target=/deps/xml \
    --mount=type=cache,target=/root/.cache/ccache \
    --mount=type=cache,target=/build/.deps \
    <<'EOF'
set -e # build and install
make -j$(nproc)
make install DESTDIR=/out
EOF

RUN --mount=type=bind,from=team/png,target=/deps/team/png \
    --mount=type=bind,from=xml,target=/deps/xml \
    --mount=type=cache,target=/root/.cache/ccache \
    --mount=type=cache,target=/build/.deps \
    <<'EOF1'
set -e # document
cat >/out/usr/local/readme <<EOF
version ${VERSION:-none}
EOF
EOF1

RUN --mount=type=bind,from=team/png,target=/deps/team/png \
    --mount=type=bind,from=xml,target=/deps/xml \
    --mount=type=cache,target=/root/.cache/ccache \
    --mount=type=cache,target=/build/.deps \
    <<'EOF'
#!/usr/bin/env python3
print('hello')
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
