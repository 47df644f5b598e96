# Cooper wrote this for a Rust project, because there is a file Cargo.toml.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.

FROM rust:1-bookworm AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

RUN <<'EOF'
set -e # Tools that the image may lack
missing= apt= apk=
for tool in cargo:cargo,ca-certificates:cargo; do
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
for name in cargo; do
  command -v "$name" >/dev/null && continue
  echo "$name is not in the image and could not be installed. Name an image that has it: image in a component block of .cooper/component.hcl, or images in the OS environment." >&2
  exit 1
done
EOF
ENV CARGO_TARGET_DIR=/build

WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH
ARG CARGO_ARGS=""

# Build
RUN --mount=type=cache,target=${CARGO_HOME:-/root/.cargo}/registry \
    --mount=type=cache,target=${CARGO_HOME:-/root/.cargo}/git \
    cargo build --release --workspace $CARGO_ARGS

RUN --mount=type=cache,target=${CARGO_HOME:-/root/.cargo}/registry \
    --mount=type=cache,target=${CARGO_HOME:-/root/.cargo}/git \
    <<'EOF'
set -e # Install
mkdir -p /out/usr/local/bin /out/usr/local/lib
made=$(find /build -maxdepth 2 -type d -name release)
[ -n "$made" ] || {
  echo "Cargo built no release: CARGO_ARGS of this recipe cannot name another profile." >&2
  exit 1
}
find $made -maxdepth 1 -type f -perm -u+x ! -name '*.so' -exec cp {} /out/usr/local/bin/ \;
cargo metadata --no-deps --format-version 1 >/tmp/metadata
if grep -q -e '"cdylib"' -e '"staticlib"' /tmp/metadata; then
  find $made -maxdepth 1 -type f \( -name '*.so' -o -name '*.a' \) -exec cp {} /out/usr/local/lib/ \;
fi
rmdir /out/usr/local/bin /out/usr/local/lib 2>/dev/null || true
[ -n "$(ls /out/usr/local)" ] || {
  name=$(sed 's/^{"packages":\[{"name":"\([^"]*\)".*/\1/' /tmp/metadata)
  echo "There are no programs and no C libraries: the sources go to /usr/local/src/$name."
  mkdir -p "/out/usr/local/src/$name"
  cp -a . "/out/usr/local/src/$name"
}
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
