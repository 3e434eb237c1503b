#!/bin/sh
# Where a bench runs:  bench-lab.sh SCRIPT  calls `SCRIPT inside FOLDER` in a network of its own, with a nixpkgs in the folder,
# which goes when it ends.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d /tmp/nixcloud-container-bench.XXXXXX)
chmod 755 "$work"
trap 'rm -rf --one-file-system "$work"' EXIT
"$here/../tests/nixpkgs/prepare.sh" "$work/nixpkgs" --no-systemd
export NIX_CONFIG="substitute = false
build-users-group ="
"$here/own-network.sh" "$1" inside "$work"
