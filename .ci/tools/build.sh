#!/bin/sh
# Builds the real servers and clients that the tests drive: consul, grpcurl and ghz.
# They land in a cache outside the checkout, in a folder named after what decides its content;
# tests/tools.py finds them there. Prints that folder; returns at once when it is there.
set -eu

grpcurl_version=v1.9.3
ghz_version=v0.121.0

here=$(cd "$(dirname "$0")" && pwd)
cache=${FACET_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/facet/tools}
key=$(cat "$here/go.mod" "$here/go.sum" "$here/build.sh" | sha256sum | cut -c1-16)
folder=$cache/$key

if [ -x "$folder/consul" ] && [ -x "$folder/grpcurl" ] && [ -x "$folder/ghz" ]; then
    echo "$folder"
    exit 0
fi
if ! command -v go >/dev/null 2>&1; then
    echo "build.sh: consul, grpcurl and ghz are built from source, and there is no 'go' on the PATH." >&2
    echo "build.sh: install Go 1.23 or later and try again; without them the tests that need them are skipped." >&2
    exit 1
fi

mkdir -p "$cache"
new=$(mktemp -d "$cache/.new-XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$new/module" "$new/bin"
cp "$here/go.mod" "$here/go.sum" "$here/tools.go" "$new/module"

export GOTOOLCHAIN=local CGO_ENABLED=0
echo "build.sh: building consul, grpcurl and ghz (some minutes, once)" >&2
(cd "$new/module" && GOFLAGS=-mod=readonly GOWORK=off \
    go build -trimpath -ldflags "-s -w" -o "$new/bin/consul" github.com/hashicorp/consul)
GOFLAGS='' GOBIN=$new/bin \
    go install -trimpath -ldflags "-s -w" "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl_version"
GOFLAGS='' GOBIN=$new/bin \
    go install -trimpath -ldflags "-s -w" "github.com/bojand/ghz/cmd/ghz@$ghz_version"

# Whole or not at all. Where another build was faster, or an incomplete folder is in the way,
# the complete one stays.
if ! mv -T "$new/bin" "$folder" 2>/dev/null; then
    [ -x "$folder/consul" ] && [ -x "$folder/grpcurl" ] && [ -x "$folder/ghz" ] || {
        rm -rf "$folder"
        mv -T "$new/bin" "$folder"
    }
fi
echo "$folder"
