# Cooper wrote this for a Python package, because there is a file pyproject.toml.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.

FROM python:3.13-bookworm AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

RUN <<'EOF'
set -e # Tools that the image may lack
missing= apt= apk=
for tool in pip3:python3-pip,python3-venv,ca-certificates:py3-pip; do
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
for name in pip3; do
  command -v "$name" >/dev/null && continue
  echo "$name is not in the image and could not be installed. Name an image that has it: image in a component block of .cooper/component.hcl, or images in the OS environment." >&2
  exit 1
done
EOF
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
ENV PIP_ROOT_USER_ACTION=ignore
ENV PYTHONHASHSEED=0

WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH
ARG PIP_ARGS=--no-deps

RUN --mount=type=cache,target=/root/.cache/pip \
    <<'EOF'
set -e # Install
pip3 install --root=/out --prefix=/usr/local --no-compile --no-warn-script-location $PIP_ARGS .
if [ -d /out/usr/local/local ]; then
  cp -a /out/usr/local/local/. /out/usr/local
  rm -r /out/usr/local/local
fi
[ -n "$(find /out/usr/local ! -type d 2>/dev/null | head -n 1)" ] || {
  echo "pip installed nothing below /out/usr/local. Say in .cooper/component.hcl how to build this." >&2
  exit 1
}
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
