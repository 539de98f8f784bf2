#!/bin/bash
# Prints the folder whose node_modules has Doppler's SDK for Node, in the version and with the hash of
# node-sdk/package-lock.json. It is fetched by npm once and kept in a cache. Fails with a sentence
# where node or npm is missing, or npm's registry does not answer.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
node_major_min=18
seconds=120

fail() {
	printf "Doppler's SDK: %s\n" "$*" >&2
	exit 1
}

command -v node >/dev/null || fail "node is not installed"
command -v npm >/dev/null || fail "npm is not installed"
major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$major" -ge "$node_major_min" ] || fail "node is older than $node_major_min"

if [ "$(id -u)" -eq 0 ]; then
	cache=${XDG_CACHE_HOME:-/var/cache}/dsec-tests
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/dsec-tests
fi
hash=$(sha256sum "$here/node-sdk/package-lock.json" | cut -c 1-16)
folder=$cache/node-sdk-$hash
if [ -d "$folder/node_modules" ]; then
	echo "$folder"
	exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here"/node-sdk/package*.json "$work"
cd "$work"
if ! timeout "$seconds" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error \
	</dev/null >log 2>&1; then
	tail -n 5 log >&2
	fail "npm could not fetch it"
fi
chmod -R a+rX .
# Another run may have been faster.
mv -T "$work" "$folder" 2>/dev/null || [ -d "$folder/node_modules" ]
echo "$folder"
