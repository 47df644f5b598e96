#!/usr/bin/env bash
# What Cooper does, shown on a service of its own: a Dockerfile goes in over HTTP, an image for two architectures comes
# out; a component of a git repository is asked for, and is built because it is not there. Run it with `make demo`, which sets up and builds first. Nothing is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."

for setting in "${!COOPER_@}"; do unset "$setting"; done
platforms=linux/amd64,linux/arm64
work=$(mktemp -d "${TMPDIR:-/tmp}/cooper-demo.XXXXXX")
server=
git_server=
repositories=
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
  if [ -n "$git_server" ]; then
    kill "$git_server" 2>/dev/null || true
    wait "$git_server" 2>/dev/null || true
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
    "COOPER_SOURCE_ALLOW=${repositories#http://}" "COOPER_DATA_DIR=$work/data" "$cooper" serve) >"$work/server.log" 2>&1 &
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

# serve_git makes a repository of a small component and serves it, on this machine alone.
serve_git() {
  local source=$work/greet
  mkdir -p "$source/.cooper" "$work/git"
  cat >"$source/.cooper/component.hcl" <<'HCL'
component "greet" {
  image = "busybox"
  step "make the program" {
    run = "mkdir -p /out/bin /out/share && cp greet.sh /out/bin/greet && chmod +x /out/bin/greet && uname -m >/out/share/built-on"
  }
  output = "/out"
}
HCL
  printf '#!/bin/sh\necho "hello from a component"\n' >"$source/greet.sh"
  (
    cd "$source"
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
    git init -q -b main
    git add .
    git -c user.name=demo -c user.email=demo@example.com commit -q -m "A greeting"
    git tag v1.0
    git clone -q --bare . "$work/git/greet.git"
  )
  bin/demo-gitserver "$work/git" >"$work/git.url" 2>"$work/git.log" &
  git_server=$!
  for _ in $(seq 40); do
    if [ -s "$work/git.url" ]; then break; fi
    kill -0 "$git_server" 2>/dev/null || fail "the git server ended: $(cat "$work/git.log")"
    sleep 0.25
  done
  repositories=$(head -n 1 "$work/git.url")
}

get_component() {
  local query="component=greet&tag=v1.0&architecture=arm64&url=$repositories/greet.git"
  title "GET /api/v1/component: greet at v1.0 for arm64, which nobody has built yet"
  show <"$work/greet/.cooper/component.hcl"
  api -H 'Prefer: wait=300' "http://$address/api/v1/component?$query" >"$work/component" ||
    fail "GET was answered with: $(cat "$work/component")"
  echo "The answer, once it was built:" | show
  show <"$work/component"
  echo
}

unpack_component() {
  title "cooper component get: the tarball, checked against its digest and unpacked"
  COOPER_URL=http://$address COOPER_API_KEY=$(cat "$work/key") \
    bin/cooper component get greet@v1.0 --architecture arm64 -o "$work/unpacked" 2>&1 | show
  "$work/unpacked/bin/greet" | show
  sed 's/^/built on /' "$work/unpacked/share/built-on" | show
  local file
  file=$(cd "$work" && api -OJ -w '%{filename_effective}' "http://$address/api/v1/component?component=greet&tag=v1.0&architecture=arm64&format=tar.gz")
  [ "sha256:$(sha256sum <"$work/$file" | cut -d' ' -f1)" = "$(field digest <"$work/component")" ] ||
    fail "the tarball does not hash to the digest of the answer"
  echo "$file hashes to the digest of the answer" | show
}

go build -o bin/demo-pushbase ./internal/testbed/cmd/pushbase
go build -o bin/demo-verifyimage ./internal/testbed/cmd/verifyimage
go build -o bin/demo-gitserver ./internal/testbed/cmd/gitserver
address=127.0.0.1:$(free_port)
serve_git
start_server
push_base
post
follow
get_image
pull_back
get_component
unpack_component
title "Done. The service stops now, and its data directory goes"
