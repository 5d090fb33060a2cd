#!/bin/sh
# A base image for sandboxes without any image registry: Debian's minimal system with Python.
# usage: make-base.sh IMAGE SUITE [MIRROR]   (as root; about 40 s)
set -eu

image=$1
suite=$2
mirror=${3:-}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 143' TERM INT
chmod 755 "$root"

# python3, not python3-minimal: ctypes, sqlite3, venv-less but whole.
debootstrap --variant=minbase --include=python3,ca-certificates "$suite" "$root" $mirror

# Nothing is installed from inside, so the package manager's caches are dead weight.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*

tar -C "$root" --numeric-owner -c . |
    docker import --change 'CMD ["python3"]' - "$image" >/dev/null
