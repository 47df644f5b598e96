#!/usr/bin/env bash
# Writes the API's description from the annotations in handlers/, or checks that it is up to date.
#
# Usage: openapi.sh write|check
set -euo pipefail
cd "$(dirname "$0")/../.."

generate() {
  bin/swag init --quiet --generalInfo openapi.go --dir handlers,internal/model --output "$1" --packageName openapi
}

case ${1:-} in
  write) generate openapi ;;
  check)
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    generate "$fresh"
    for file in "$fresh"/*; do
      diff -u "openapi/$(basename "$file")" "$file" || {
        echo "openapi/ is not what the annotations say: run 'make openapi' and commit it" >&2
        exit 1
      }
    done
    ;;
  *) echo "usage: openapi.sh write|check" >&2; exit 2 ;;
esac
