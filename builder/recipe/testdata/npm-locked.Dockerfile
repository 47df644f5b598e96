# Cooper wrote this for an npm package, because there is a file package.json.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.

FROM node:22-bookworm AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

RUN <<'EOF'
set -e # Tools that the image may lack
missing= apt= apk=
for tool in npm:npm,ca-certificates:npm; do
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
for name in npm; do
  command -v "$name" >/dev/null && continue
  echo "$name is not in the image and could not be installed. Name an image that has it: image in a component block of .cooper/component.hcl, or images in the OS environment." >&2
  exit 1
done
EOF
ENV NPM_CONFIG_UPDATE_NOTIFIER=false

WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH

# Dependencies
RUN --mount=type=cache,target=/root/.npm \
    npm ci --no-audit --no-fund

# Build
RUN --mount=type=cache,target=/root/.npm \
    npm run build --if-present

RUN --mount=type=cache,target=/root/.npm \
    <<'EOF'
set -e # Install
mkdir -p /tmp/pack
npm pack --pack-destination /tmp/pack
npm prune --omit=dev --no-audit --no-fund
name=$(node -p 'require("./package.json").name')
package=/out/usr/local/lib/node_modules/$name
mkdir -p "$package" /out/usr/local/bin
tar -xzf /tmp/pack/*.tgz --strip-components=1 -C "$package"
if [ -d node_modules ]; then
  cp -a node_modules "$package"
  find node_modules -mindepth 1 -maxdepth 2 -type l ! -path 'node_modules/.bin/*' | while read -r link; do
    rm "$package/$link"
    cp -a "$(readlink -f "$link")" "$package/$link"
  done
fi
node -e '
  const { name, bin } = require("./package.json");
  const programs = typeof bin === "string" ? { [name.split("/").pop()]: bin } : bin || {};
  for (const [program, file] of Object.entries(programs)) console.log(program, file);
' | while read -r program file; do
  chmod +x "$package/$file"
  ln -s "../lib/node_modules/$name/$file" "/out/usr/local/bin/$program"
done
rmdir /out/usr/local/bin 2>/dev/null || true
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
