#!/bin/sh
# The build stage of every image: makes /opt/facet, a virtual environment that the image's final
# stage copies as it is, with the same version of Python; it needs a C compiler, so its base is
# the larger one.
#
#   install.sh dependencies EXTRA...   what pyproject.toml asks for, at the versions in
#                                      constraints.txt: the layer that seldom changes
#   install.sh project                 Facet itself
set -eu

UV_VERSION=0.13.9
TOOLS=/opt/tools
VENV=/opt/facet

case "$1" in
dependencies)
    shift
    extras=""
    for extra in "$@"; do extras="$extras --extra $extra"; done
    python3 -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "uv==$UV_VERSION"
    python3 -m venv --without-pip "$VENV"
    # shellcheck disable=SC2086  # several words are meant
    "$TOOLS/bin/uv" pip install --no-cache --python "$VENV/bin/python" \
        --constraint constraints.txt --requirement pyproject.toml $extras
    "$VENV/bin/python" docker/trim.py "$VENV"/lib/python3*/site-packages
    # Compiled here, since containers do not write to their root file system; but for the hundreds
    # of languages that rich could colour.
    "$VENV/bin/python" -m compileall -q -j 0 -x /pygments/lexers/ \
        --invalidation-mode unchecked-hash "$VENV/lib"
    ;;
project)
    "$TOOLS/bin/uv" pip install --no-cache --python "$VENV/bin/python" --no-deps .
    for package in facet gateway services; do
        "$VENV/bin/python" -m compileall -q --invalidation-mode unchecked-hash \
            "$VENV"/lib/python3*/site-packages/$package
    done
    ;;
*)
    echo "install.sh: dependencies EXTRA... or project, not '$1'" >&2
    exit 2
    ;;
esac
