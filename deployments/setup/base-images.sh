#!/usr/bin/env bash
# Puts what the base images of tests and of the demo are made from into the cache folder, once:
#   busybox-amd64, busybox-arm64   static programs, taken from Debian's or Ubuntu's busybox-static packages
#   debian.tar.gz                  a minimal Debian, with "debian" as an argument
# No container registry is asked, nothing is installed, and the system's package settings stay as they are: apt works
# here on lists of its own, so that another architecture need not be added to the system.
#
# Usage: base-images.sh busybox|debian ...
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/cooper/base
architectures=(amd64 arm64)
scratch=

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
remove_scratch() { if [ -n "$scratch" ]; then rm -rf "$scratch"; fi; }
trap remove_scratch EXIT

# os_field prints one field of the system's description: ID, VERSION_CODENAME.
os_field() { (. /etc/os-release && eval "printf '%s' \"\${$1:-}\""); }

# Ubuntu keeps its other architectures on another server than amd64, so the lists to ask are written down here.
write_ubuntu_sources() {
  local codename
  codename=$(os_field VERSION_CODENAME)
  {
    echo "deb [arch=amd64] http://archive.ubuntu.com/ubuntu $codename main universe"
    echo "deb [arch=arm64] http://ports.ubuntu.com/ubuntu-ports $codename main universe"
  } >"$scratch/sources.list"
}

# private_apt runs apt-get for both architectures with its state below $scratch.
private_apt() {
  local options=(
    -o "APT::Architecture=${architectures[0]}" -o APT::Sandbox::User=root -o "Dir::State=$scratch/state"
    -o "Dir::Cache=$scratch/cache" -o Dir::State::status=/dev/null
    -o Acquire::Languages=none -o Acquire::Retries=3
  )
  local architecture
  for architecture in "${architectures[@]}"; do options+=(-o "APT::Architectures::=$architecture"); done
  if [ -f "$scratch/sources.list" ]; then
    options+=(-o "Dir::Etc::sourcelist=$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null)
  fi
  apt-get -qq "${options[@]}" "$@"
}

have_busybox() {
  local architecture
  for architecture in "${architectures[@]}"; do
    [ -x "$cache/busybox-$architecture" ] || return 1
  done
}

fetch_busybox() {
  command -v apt-get >/dev/null || fail "no apt-get: put static busybox programs at $cache/busybox-{amd64,arm64}"
  say "fetching busybox for ${architectures[*]} (3 MB, and package lists) into the cache"
  mkdir -p "$scratch/state/lists/partial" "$scratch/cache/archives/partial"
  if [ "$(os_field ID)" = ubuntu ]; then write_ubuntu_sources; fi
  # A list of no interest here may fail; whether the package can be had is what counts.
  private_apt update || say "some package lists could not be read; trying without them"
  local architecture
  for architecture in "${architectures[@]}"; do
    (cd "$scratch" && private_apt download "busybox-static:$architecture") ||
      fail "busybox-static for $architecture could not be fetched: see apt's message above"
    dpkg -x "$scratch"/busybox-static_*_"$architecture".deb "$scratch/$architecture"
    # Older releases have it in /bin, newer ones in /usr/bin.
    install -m 0755 "$scratch/$architecture"/{,usr/}bin/busybox "$scratch" 2>/dev/null || true
    [ -x "$scratch/busybox" ] || fail "the package busybox-static for $architecture holds no busybox"
    mv "$scratch/busybox" "$cache/busybox-$architecture"
  done
}

# The host's certificates go into the image, so that programs in it trust what the host trusts.
fetch_debian() {
  local sudo=() keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  command -v mmdebstrap >/dev/null || fail "no mmdebstrap: run 'make setup-test'"
  say "making a minimal Debian (about half a minute, 60 MB) into the cache"
  mkdir -p "$scratch/certs"
  cp -L /etc/ssl/certs/ca-certificates.crt "$scratch/certs/"
  "${sudo[@]}" mmdebstrap --quiet --variant=minbase --include=ca-certificates --keyring="$keyring" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="copy-in $scratch/certs/ca-certificates.crt /etc/ssl/certs" \
    --format=tar bookworm - | gzip -3 >"$scratch/debian.tar.gz"
  mv "$scratch/debian.tar.gz" "$cache/debian.tar.gz"
}

mkdir -p "$cache"
for wanted in "$@"; do
  scratch=
  case $wanted in
    busybox) have_busybox && continue ;;
    debian) [ -f "$cache/debian.tar.gz" ] && continue ;;
    *) fail "unknown base image $wanted: busybox or debian" ;;
  esac
  scratch=$(mktemp -d "$cache/.new.XXXXXX")
  "fetch_$wanted"
  remove_scratch
done
