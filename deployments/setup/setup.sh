#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine, and has the kernel run the other architecture's programs.
# It says what it is about to do, does nothing when nothing is missing, and uses sudo when it is not run by root.
#
# Usage: setup.sh run|demo|test
#   run    what `cooper serve` needs: runc, git, the network plugins and their firewall, emulation
#   demo   run, curl, and busybox for two architectures in the cache folder
#   test   demo, a browser, a Docker Engine, an SSH server and nginx (none of them started), skopeo, tools that unpack, and
#          in the cache folder a minimal Debian, one with compilers, this machine's Go, and what four other languages need
set -euo pipefail
cd "$(dirname "$0")"
export PATH=$PATH:/usr/sbin:/sbin

binfmt=/proc/sys/fs/binfmt_misc
policy=/usr/sbin/policy-rc.d
missing=()
sudo=()
made_policy=

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

remove_policy() { if [ -n "$made_policy" ]; then "${sudo[@]}" rm -f "$policy"; fi; }
trap remove_policy EXIT

become_root() {
  if [ "$(id -u)" -eq 0 ]; then return; fi
  command -v sudo >/dev/null || fail "this needs root, and there is no sudo: $*"
  sudo=(sudo)
}

# need PACKAGE TEST...: the package is missing when the test fails. What counts is the program, whoever brought it.
need() {
  local package=$1
  shift
  if ! "$@" >/dev/null 2>&1; then missing+=("$package"); fi
}

has() { command -v "$1"; }

static_busybox() { [ -x /bin/busybox ] && ! ldd /bin/busybox; }

network_plugins() {
  local plugin
  for plugin in bridge firewall host-local loopback; do
    [ -x "/usr/lib/cni/$plugin" ] || [ -x "/opt/cni/bin/$plugin" ] || return 1
  done
}

# emulated prints which architecture this machine's kernel needs help with, as QEMU and as the file of a program name it.
emulated() {
  case $(uname -m) in
    x86_64) echo aarch64 ;;
    aarch64) echo x86_64 ;;
    *) fail "this machine is neither amd64 nor arm64: $(uname -m)" ;;
  esac
}

emulation_registered() { grep -qs '^enabled' "$binfmt/qemu-$(emulated)"; }
emulator() { emulation_registered || [ -f "/usr/lib/binfmt.d/qemu-$(emulated).conf" ]; }

find_missing() {
  need runc has runc
  need git has git
  need openssh-client has ssh
  need containernetworking-plugins network_plugins
  need iptables has iptables
  need nftables has nft
  need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
  need qemu-user-static emulator
  if [ "$1" = run ]; then return; fi
  need curl has curl
  if [ "$1" = demo ]; then return; fi
  need busybox-static static_busybox
  need chromium has chromium
  need docker.io has dockerd
  need python3 has python3
  need skopeo has skopeo
  need nginx-light has nginx
  need openssh-server has sshd
  need pigz has pigz
  need unzip has unzip
  need zstd has zstd
  need mmdebstrap has mmdebstrap
  need debian-archive-keyring test -f /usr/share/keyrings/debian-archive-keyring.gpg
}

# Packages may start services when they are installed; this file tells them not to, as Debian's policy has it.
forbid_services() {
  if [ -e "$policy" ]; then return; fi
  made_policy=yes
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
  "${sudo[@]}" chmod 0755 "$policy"
}

install_missing() {
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  command -v apt-get >/dev/null || fail "no apt-get here; install these by hand (Debian's names): ${missing[*]}"
  become_root "apt-get install ${missing[*]}"
  say "installing with apt-get${sudo[0]:+ (through sudo)}: ${missing[*]}"
  forbid_services
  "${sudo[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update ||
    say "some package lists could not be read; trying without them"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -y \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install: ${missing[*]}"
}

# A container may have a kernel that does not allow this; then Cooper still builds for its own architecture.
register_emulation() {
  if emulation_registered; then return; fi
  local file
  file=/usr/lib/binfmt.d/qemu-$(emulated).conf
  become_root "registering qemu-$(emulated) with the kernel"
  if [ ! -e "$binfmt/register" ]; then
    say "mounting $binfmt${sudo[0]:+ (through sudo)}"
    "${sudo[@]}" mount -t binfmt_misc binfmt_misc "$binfmt" || true
    if emulation_registered; then return; fi
  fi
  say "registering emulation of $(emulated) with the kernel${sudo[0]:+ (through sudo)}"
  if ! "${sudo[@]}" sh -c 'cat "$1" >"$2/register"' sh "$file" "$binfmt"; then
    say "WARNING: the kernel refused; images for $(emulated) cannot be built on this machine"
  fi
}

case ${1:-} in
  run | demo | test) ;;
  *) fail "usage: setup.sh run|demo|test" ;;
esac
command -v go >/dev/null || fail "no Go: install the version that go.mod names, from https://go.dev/dl/"
find_missing "$1"
install_missing
register_emulation
case $1 in
  demo) ./base-images.sh busybox ;;
  test) ./base-images.sh busybox debian toolchain golang languages ;;
esac
