#!/usr/bin/env bash
# What Cooper does, shown on a service of its own: a Dockerfile goes in over HTTP, an image for two architectures comes
# out. Run it with `make demo`, which sets up and builds first. Nothing is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."

for setting in "${!COOPER_@}"; do unset "$setting"; done
platforms=linux/amd64,linux/arm64
work=$(mktemp -d "${TMPDIR:-/tmp}/cooper-demo.XXXXXX")
server=
step=0
sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo -E); fi

title() { step=$((step + 1)); printf '\n\033[1m%d. %s\033[0m\n' "$step" "$*"; }
show() { sed 's/^/   /'; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

clean_up() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "$server" ]; then
    "${sudo[@]}" kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  if [ "$status" -ne 0 ] && [ "$status" -lt 128 ] && [ -f "$work/server.log" ]; then
    printf 'demo: failed; the last lines of the server'\''s log:\n' >&2
    tail -n 30 "$work/server.log" >&2
  fi
  "${sudo[@]}" rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# free_port prints a port on which nothing listens.
free_port() {
  local port
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  fail "no free port found"
}

# field prints a text field of the JSON on standard input; the first one of that name.
field() { { grep -o "\"$1\": *\"[^\"]*\"" || true; } | head -n 1 | sed 's/.*": *"//; s/"$//'; }

api() { curl -sS --fail-with-body -H @"$work/headers" "$@"; }

start_server() {
  title "Starting Cooper on $address, with an empty data directory"
  # Started in a folder without a .env, so that only these settings count.
  local cooper=$PWD/bin/cooper
  (cd "$work" && exec "${sudo[@]}" env "COOPER_LISTEN=$address" "COOPER_PUBLIC_URL=http://$address" \
    "COOPER_DATA_DIR=$work/data" "$cooper" serve) >"$work/server.log" 2>&1 &
  server=$!
  for _ in $(seq 240); do
    if curl -fsS -m 2 -o /dev/null "http://$address/readyz" 2>/dev/null; then break; fi
    kill -0 "$server" 2>/dev/null || fail "the server ended"
    sleep 0.25
  done
  curl -sS -m 2 "http://$address/readyz" | show
  echo
  "${sudo[@]}" cat "$work/data/admin.key" >"$work/key" || fail "the server made no administrator's key"
  chmod 600 "$work/key"
  printf 'X-API-Key: %s\nlinux_username: %s\n' "$(cat "$work/key")" "$(id -un)" >"$work/headers"
}

push_base() {
  title "Pushing busybox to mirror/docker.io/library/busybox, so that FROM busybox needs no internet"
  bin/demo-pushbase -key-file "$work/key" busybox "$address/mirror/docker.io/library/busybox:latest"
  echo "pushed, for amd64 and arm64" | show
}

write_dockerfile() {
  cat >"$work/Dockerfile" <<'DOCKERFILE'
FROM busybox AS build
RUN mkdir /out && echo "building on $(uname -m)"
RUN uname -m >/out/built-on && echo "hello from Cooper" >/out/greeting
RUN cd /out && sha256sum built-on greeting | tee checksums

FROM busybox
COPY --from=build /out /srv/hello
RUN cd /srv/hello && sha256sum -c checksums
CMD ["cat", "/srv/hello/greeting"]
DOCKERFILE
}

post() {
  write_dockerfile
  title "POST /api/v1/images: this Dockerfile, for $platforms"
  show <"$work/Dockerfile"
  api -F dockerfile=@"$work/Dockerfile" -F component=hello -F branch=main -F "architecture=$platforms" \
    "http://$address/api/v1/images" >"$work/answer" || fail "POST was answered with: $(cat "$work/answer")"
  echo "The answer:" | show
  show <"$work/answer"
  echo
  build=$(field buildId <"$work/answer")
  [ -n "$build" ] || fail "the answer has no buildId"
}

follow() {
  title "GET /api/v1/builds/$build/logs?follow=1: the log, live"
  api --no-buffer -m 600 "http://$address/api/v1/builds/$build/logs?follow=1" | show
}

get_image() {
  title "GET /api/v1/image: is it there?"
  local query="component=hello&branch=main"
  for architecture in ${platforms//,/ }; do
    api "http://$address/api/v1/image?$query&architecture=$architecture" >"$work/image" ||
      fail "no image for $architecture: $(cat "$work/image")"
  done
  show <"$work/image"
  echo
  image=$(field imageName <"$work/image")
  digest=$(field digest <"$work/image")
  if [ -z "$image" ] || [ -z "$digest" ]; then fail "the answer lacks imageName or digest"; fi
}

pull_back() {
  title "Pulling $image back, both platforms, every layer checked against its digest"
  bin/demo-verifyimage -key-file "$work/key" -want "$platforms" \
    -digest "$digest" -show /srv/hello/built-on "$image" | show
}

go build -o bin/demo-pushbase ./internal/testbed/cmd/pushbase
go build -o bin/demo-verifyimage ./internal/testbed/cmd/verifyimage
address=127.0.0.1:$(free_port)
start_server
push_base
post
follow
get_image
pull_back
title "Done. The service stops now, and its data directory goes"
