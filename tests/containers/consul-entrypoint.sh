#!/bin/sh
# As hashicorp/consul has it: an agent gets the image's folders, which are a volume's.
set -eu
if [ "$1" = agent ]; then
    shift
    set -- agent -data-dir=/consul/data -config-dir=/consul/config "$@"
fi
exec consul "$@"
