#!/bin/sh
# Builds kustomize, which renders docker/kubernetes, into the cache of build.sh, in a folder that is
# named after its version. Prints that folder; returns at once when it is there.
set -eu

version=v5.5.0

cache=${FACET_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/facet/tools}
folder=$cache/kustomize-$version

if [ -x "$folder/kustomize" ]; then
    echo "$folder"
    exit 0
fi
if ! command -v go >/dev/null 2>&1; then
    echo "kustomize.sh: kustomize is built from source, and there is no 'go' on the PATH." >&2
    echo "kustomize.sh: install Go 1.23 or later and try again; without it the tests that need kustomize are skipped." >&2
    exit 1
fi

mkdir -p "$cache"
new=$(mktemp -d "$cache/.new-XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS='' GOBIN=$new/bin \
    go install -trimpath -ldflags "-s -w" "sigs.k8s.io/kustomize/kustomize/v5@$version"
# Whole or not at all; where another build was faster, its folder stays.
mv -T "$new/bin" "$folder" 2>/dev/null || [ -x "$folder/kustomize" ]
echo "$folder"
