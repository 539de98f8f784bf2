#!/bin/bash
# Prints the folder that PYTHONPATH needs for `import moto` by /usr/bin/python3: an empty line where
# moto is installed. Where the release has no such package, the one of the distribution's next
# release is fetched, from the machine's own mirror and checked by apt against the distribution's
# keys, and unpacked into a cache beside the release's own Python packages: it is pure Python.
# Fails with a sentence where none of this works.
set -euo pipefail

fail() {
	printf 'moto: %s\n' "$*" >&2
	exit 1
}

if /usr/bin/python3 -c 'import moto.server' 2>/dev/null; then
	echo
	exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
	cache=${XDG_CACHE_HOME:-/var/cache}/dsec-tests
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/dsec-tests
fi
packages=usr/lib/python3/dist-packages
for folder in "$cache"/moto-*/"$packages"; do
	if [ -d "$folder/moto" ]; then
		echo "$folder"
		exit 0
	fi
done

# shellcheck source=/dev/null
. /etc/os-release
case $ID in
debian) suite=trixie component=main origin=Debian ;;
ubuntu) suite=resolute component=universe origin=Ubuntu ;;
*) fail "there is no package of it for $ID" ;;
esac

# The mirror, as apt itself understands the machine's sources, whatever their format.
mirror() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Origin: $origin" \
		"Codename: $VERSION_CODENAME" "Component: $component" 2>/dev/null | sort -u | head -n 1
}

uri=$(mirror)
if [ -z "$uri" ] && [ "$(id -u)" -eq 0 ]; then
	# Whose archive it is stands in the lists, which this machine has not fetched yet.
	apt-get -qq update </dev/null >/dev/null 2>&1 || true
	uri=$(mirror)
fi
[ -n "$uri" ] || fail "the sources of apt name no mirror of $origin's $VERSION_CODENAME"

keyring=/usr/share/keyrings/$ID-archive-keyring.gpg
[ -r "$keyring" ] || fail "$keyring is missing"

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/none"
echo "deb [signed-by=$keyring] $uri $suite $component" >"$work/sources.list"

options=(
	-qq -o Dir::State="$work/state" -o Dir::State::status=/var/lib/dpkg/status
	-o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list"
	-o Dir::Etc::sourceparts="$work/none" -o Dir::Etc::preferences="$work/none/preferences"
	-o Dir::Etc::preferencesparts="$work/none" -o APT::Sandbox::User=
	-o Acquire::Languages=none -o Acquire::Retries=3
	-o Acquire::http::Timeout=60
)
cd "$work"
if ! apt-get "${options[@]}" update </dev/null >log 2>&1 ||
	! apt-get "${options[@]}" download python3-moto </dev/null >>log 2>&1; then
	cat log >&2
	fail "its package could not be fetched from $suite"
fi
package=$(echo python3-moto_*.deb)
version=${package#python3-moto_}
version=${version%%_*}
dpkg -x "$package" unpacked
chmod -R a+rX unpacked
PYTHONPATH=unpacked/$packages /usr/bin/python3 -c 'import moto.server' ||
	fail "version $version does not work with this release's Python packages"
# Another run may have been faster.
mv -T unpacked "$cache/moto-$version" 2>/dev/null || [ -d "$cache/moto-$version" ]
echo "$cache/moto-$version/$packages"
