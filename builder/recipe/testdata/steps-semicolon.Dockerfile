# Cooper wrote this from the component block in .cooper/x.hcl.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.

FROM debian:bookworm AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

RUN mkdir -p /out
WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH

RUN <<'EOF'
set -e
make; make install DESTDIR=/out
EOF

FROM scratch AS component
COPY --from=build /out /
