#!/usr/bin/env bash
# Puts what the base images of tests and of the demo are made from into the cache folder, once:
#   busybox-amd64, busybox-arm64   static programs, taken from Debian's or Ubuntu's busybox-static packages
#   debian.tar.gz                  a minimal Debian, with "debian" as an argument
#   toolchain-{amd64,arm64}.tar.zst  a Debian with C and C++ compilers and the usual build systems, for "toolchain"
#   golang.tar.zst                 this machine's Go, below /usr/local/go, for "golang"
#   languages.tar.zst              what Rust, Node.js, Python and Java are built with on this machine's architecture, to be
#                                  put on top of its toolchain, for "languages"
# Beside each of the archives, a file .sums has its digest and that of the tar inside. No container registry is asked,
# nothing is installed, and the system's package settings stay as they are: apt works here on lists of its own, so that
# another architecture need not be added to the system.
#
# Usage: base-images.sh busybox|debian|toolchain|golang|languages ...
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

# The bases are of Debian, on whatever machine they are made. Its minimal one says where its packages are.
write_debian_sources() {
  [ -f "$cache/debian.tar.gz" ] || fail "what is put on Debian needs it first: base-images.sh debian languages"
  tar -xzOf "$cache/debian.tar.gz" ./etc/apt/sources.list |
    sed 's|^deb |deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] |' >"$scratch/sources.list"
}

# private_apt runs apt-get for the architectures with its state below $scratch.
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

# A list of no interest here may fail; whether the package can be had is what counts.
read_package_lists() {
  mkdir -p "$scratch/state/lists/partial" "$scratch/cache/archives/partial"
  private_apt update || say "some package lists could not be read; trying without them"
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
  if [ "$(os_field ID)" = ubuntu ]; then write_ubuntu_sources; fi
  read_package_lists
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
  if [ -f "$cache/debian.tar.gz" ]; then # made before there were sums
    keep "$cache/debian.tar.gz" debian.tar.gz
    return
  fi
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
  keep "$scratch/debian.tar.gz" debian.tar.gz
}

have_toolchain() {
  local architecture
  for architecture in "${architectures[@]}"; do
    [ -f "$cache/toolchain-$architecture.tar.zst.sums" ] || return 1
  done
}

# The packages are unpacked and never configured: under emulation, that would take the other architecture many minutes.
# What their scripts would have done, and a build needs, is done by finish_toolchain.
toolchain_packages=(
  base-files base-passwd bash bzip2 coreutils dash debianutils diffutils findutils grep gzip hostname libc-bin mawk
  patch perl-base sed tar util-linux xz-utils
  autoconf automake cmake file g++ gcc libc6-dev libtool make meson ninja-build pkgconf
)

# Left out is what no build of a test's size calls: documentation, sanitizers, character sets, profilers.
toolchain_leaves_out=(
  '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*' '/usr/share/lintian/*'
  '/usr/share/bash-completion/*' '/usr/share/zoneinfo/*' '/usr/lib/*/gconv/*' '/usr/lib/*/perl/*/CORE/*'
  '/usr/lib/*/perl/*/auto/Encode/[CJKT]*' '/usr/lib/*/perl/*/auto/Unicode/Collate/*' '/usr/share/perl/*/Unicode/Collate/*'
  '/usr/lib/*/lib*san.so*' '/usr/lib/gcc/*/lib*san*' '/usr/lib/*/libgprofng*' '/usr/bin/*gp-*' '/usr/bin/*gprofng*' '/usr/lib/*/gprofng/*'
  '/usr/bin/*lto-dump*' '/usr/bin/*ld.gold' '/usr/bin/*dwp' '/usr/bin/cpack'
)

# finish_toolchain is run by mmdebstrap with the root file system's folder.
finish_toolchain() {
  local root=$1 tool
  cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
  cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
  ln -sf mawk "$root/usr/bin/awk"
  ln -sf gcc "$root/usr/bin/cc"
  ln -sf g++ "$root/usr/bin/c++"
  for tool in automake aclocal; do
    (cd "$root/usr/bin" && ln -sf "$tool"-1.* "$tool")
  done
  ln -sf which.debianutils "$root/usr/bin/which"
  mkdir -p "$root/etc/ssl/certs" "$root/tmp"
  chmod 1777 "$root/tmp"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  rm -rf "$root"/var/lib/{apt,dpkg}/* "$root"/var/cache/apt/*
}

fetch_toolchain() {
  local architecture making=() one
  command -v mmdebstrap >/dev/null || fail "no mmdebstrap: run 'make setup-test'"
  say "making a Debian with compilers for ${architectures[*]} (about a minute, 2 x 110 MB) into the cache"
  for architecture in "${architectures[@]}"; do
    make_toolchain "$architecture" &
    making+=($!)
  done
  for one in "${making[@]}"; do wait "$one"; done
}

make_toolchain() {
  local architecture=$1 sudo=() left_out=() pattern packages
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  for pattern in "${toolchain_leaves_out[@]}"; do left_out+=("--dpkgopt=path-exclude=$pattern"); done
  packages=$(IFS=,; echo "${toolchain_packages[*]}")
  "${sudo[@]}" env SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=extract --architectures="$architecture" \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include="$packages" "${left_out[@]}" --extract-hook="'$PWD/${BASH_SOURCE[0]##*/}' finish-toolchain \"\$1\"" \
    --format=tar bookworm - >"$scratch/$architecture.tar" 2>"$scratch/$architecture.log" ||
    { cat "$scratch/$architecture.log" >&2; fail "the Debian with compilers for $architecture could not be made"; }
  zstd -q -T0 -3 --rm "$scratch/$architecture.tar"
  keep "$scratch/$architecture.tar.zst" "toolchain-$architecture.tar.zst"
}

have_golang() { [ "$(cat "$cache/golang.version" 2>/dev/null)" = "$(go env GOVERSION)" ] && [ -f "$cache/golang.tar.zst.sums" ]; }

# Tests and their data are a third of Go's files and no use to who builds with it.
fetch_golang() {
  say "packing this machine's Go (70 MB) into the cache"
  tar --create --directory "$(go env GOROOT)" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u+w,go-w \
    --exclude='*_test.go' --exclude=testdata --transform='s,^,usr/local/go/,' \
    VERSION go.env bin lib pkg src | zstd -q -T0 -3 -o "$scratch/golang.tar.zst"
  keep "$scratch/golang.tar.zst" golang.tar.zst
  go env GOVERSION >"$cache/golang.version"
}

# What the toolchain lacks. A project that depends on nothing builds with it without a network: pip gets what it builds with
# from the folder python-wheels, and Maven its plugins from Debian's repository.
language_packages=(
  cargo rustc npm
  python3-pip python3-setuptools python3-setuptools-whl python3-wheel python3-wheel-whl
  maven libmaven-compiler-plugin-java libmaven-jar-plugin-java libmaven-resources-plugin-java libsurefire-java
  openjdk-17-jdk-headless
)

# Most of these are other tools and libraries that npm's and Maven's packages name, and that no build of a test's size
# calls.
languages_leave_out=(
  '/usr/lib/jvm/*/jmods' '/usr/lib/*/lib*.a' '/usr/include/*' '/usr/bin/rustdoc' '/usr/share/fonts/*' '/usr/share/fop/*'
  '/usr/share/java/batik-*' '/usr/share/java/fop*' '/usr/share/java/itext*' '/usr/share/java/xalan2*'
  '/usr/share/nodejs/@types/*' '/usr/share/nodejs/@babel/*' '/usr/share/nodejs/@webassemblyjs/*'
  '/usr/share/nodejs/core-js*' '/usr/share/nodejs/es-abstract/*' '/usr/share/nodejs/eslint/*' '/usr/share/nodejs/lodash*'
  '/usr/share/nodejs/terser/*' '/usr/share/nodejs/webpack/*' '/usr/share/nodejs/web-streams-polyfill/*'
)

# installed_with prints the names of all packages that those that are named bring, themselves among them.
installed_with() {
  private_apt -o APT::Install-Recommends=false --simulate install "$@" >"$scratch/plan"
  awk '$1 == "Inst" { sub(/:.*/, "", $2); print $2 }' "$scratch/plan" | sort
}

# Only what the toolchain does not have is fetched. Packages are unpacked and never configured here, too; being for one
# architecture, they could be, but that would take longer than all the rest.
fetch_languages() {
  local architectures names folder root=$scratch/root
  architectures=("$(dpkg --print-architecture)")
  say "fetching what Rust, Node.js, Python and Java are built with (about a minute, 240 MB) into the cache"
  write_debian_sources
  read_package_lists
  installed_with "${toolchain_packages[@]}" >"$scratch/toolchain"
  installed_with "${toolchain_packages[@]}" "${language_packages[@]}" >"$scratch/both"
  mapfile -t names < <(comm -13 "$scratch/toolchain" "$scratch/both")
  mkdir -p "$scratch/packages"
  (cd "$scratch/packages" && private_apt download "${names[@]}") ||
    fail "the packages of the languages could not be fetched: see apt's message above"
  for folder in bin lib lib64 sbin; do # the same links as in the toolchain, which folders of these names would hide
    mkdir -p "$root/usr/$folder"
    ln -s "usr/$folder" "$root/$folder"
  done
  printf '.%s\n' "${toolchain_leaves_out[@]}" "${languages_leave_out[@]}" >"$scratch/left-out"
  (cd "$root" && printf '%s\0' ../packages/*.deb | xargs -0 -P "$(nproc)" -n 8 bash -o pipefail -ec '
    for package; do
      dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink --exclude-from=../left-out
    done' bash)
  finish_languages "$root"
  tar --create --directory "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner . |
    zstd -q -T0 -3 -o "$scratch/languages.tar.zst"
  keep "$scratch/languages.tar.zst" languages.tar.zst
}

# finish_languages does what the packages' scripts would have done. Maven takes Debian's packages for every repository.
finish_languages() {
  local root=$1 tool
  ln -s ../share/maven/bin/mvn "$root/usr/bin/mvn"
  for tool in java javac jar; do
    ln -s "../lib/jvm/default-java/bin/$tool" "$root/usr/bin/$tool"
  done
  printf '<settings><mirrors><mirror>%s</mirror></mirrors></settings>\n' \
    '<id>debian</id><mirrorOf>*</mirrorOf><url>file:///usr/share/maven-repo</url>' >"$root/etc/maven/settings.xml"
}

# keep puts an archive into the cache, and beside it its digest and that of the tar in it.
keep() {
  local unpack=(zstd -dcq)
  if [[ $2 == *.gz ]]; then unpack=(gzip -dc); fi
  {
    sha256sum <"$1" | cut -d' ' -f1
    "${unpack[@]}" "$1" | sha256sum | cut -d' ' -f1
  } >"$scratch/$2.sums"
  rm -f "$cache/$2.sums"
  if [ "$1" != "$cache/$2" ]; then mv "$1" "$cache/$2"; fi
  mv "$scratch/$2.sums" "$cache/"
}

cd "$(dirname "${BASH_SOURCE[0]}")"
if [ "${1:-}" = finish-toolchain ]; then
  finish_toolchain "$2"
  exit
fi
mkdir -p "$cache"
for wanted in "$@"; do
  scratch=
  case $wanted in
    busybox) have_busybox && continue ;;
    debian) [ -f "$cache/debian.tar.gz.sums" ] && continue ;;
    toolchain) have_toolchain && continue ;;
    golang) have_golang && continue ;;
    languages) [ -f "$cache/languages.tar.zst.sums" ] && continue ;;
    *) fail "unknown base image $wanted: busybox, debian, toolchain, golang or languages" ;;
  esac
  scratch=$(mktemp -d "$cache/.new.XXXXXX")
  "fetch_$wanted"
  remove_scratch
done
