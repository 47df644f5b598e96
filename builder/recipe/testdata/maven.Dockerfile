# Cooper wrote this for a Maven project, because there is a file pom.xml.
# To take over, commit it as Dockerfile. The stage component holds the component's files and nothing else.

FROM maven:3-eclipse-temurin-21 AS build
ENV LC_ALL=C.UTF-8 TZ=UTC

RUN <<'EOF'
set -e # Tools that the image may lack
missing= apt= apk=
for tool in mvn:maven,ca-certificates:maven; do
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
for name in mvn; do
  command -v "$name" >/dev/null && continue
  echo "$name is not in the image and could not be installed. Name an image that has it: image in a component block of .cooper/component.hcl, or images in the OS environment." >&2
  exit 1
done
EOF

WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH
ARG MAVEN_ARGS=""

# Build
RUN --mount=type=cache,target=/root/.m2/repository,sharing=locked \
    mvn -B package -DskipTests "-Dproject.build.outputTimestamp=${SOURCE_DATE_EPOCH:-0}"

RUN --mount=type=cache,target=/root/.m2/repository,sharing=locked \
    <<'EOF'
set -e # Install
mkdir -p /out/usr/local/share/java
find . \( -name '*.jar' -o -name '*.war' \) -path '*/target/*' ! -path '*/target/*/*' \
  ! -name '*-sources.jar' ! -name '*-javadoc.jar' ! -name '*-tests.jar' ! -name 'original-*.jar' \
  -exec cp {} /out/usr/local/share/java/ \;
[ -n "$(find /out/usr/local ! -type d 2>/dev/null | head -n 1)" ] || {
  echo "The project made no .jar or .war in a folder target. Say in .cooper/component.hcl how to build this." >&2
  exit 1
}
EOF

FROM scratch AS component
COPY --from=build /out/usr/local /
