#!/usr/bin/env bash
# install.sh: brings what the tests need beyond npm, where it is missing: a Java runtime and Maven for Kafka and the schema
# registry, a container engine and a static busybox for the Kafka image, and what the Python examples import. From Debian's
# packages, as root, and from PyPI, into the cache; where that cannot be, it says so and the tests that need them skip (or
# fail, under CI=true).
set -euo pipefail

packages=()
command -v java > /dev/null || packages+=(openjdk-17-jre-headless)
command -v mvn > /dev/null || packages+=(maven)
# An engine that answers is as good as one of ours.
docker info > /dev/null 2>&1 || command -v dockerd > /dev/null || packages+=(docker.io)
{ command -v busybox > /dev/null && ! ldd "$(command -v busybox)" > /dev/null 2>&1; } || packages+=(busybox-static)
python3 -c 'import ensurepip, venv' 2> /dev/null || packages+=(python3-venv)

if [ ${#packages[@]} -eq 0 ]; then
  :
elif ! command -v apt-get > /dev/null; then
  echo "NOTE: no apt-get here to install ${packages[*]} with: have them installed by hand"
elif [ "$(id -u)" -ne 0 ]; then
  echo "NOTE: only root can install packages: sudo apt-get install --no-install-recommends ${packages[*]}"
else
  echo "installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
fi

# A virtual environment is of the requirements that it was made with (test/support/python.ts).
wanted=$(cd "$(dirname "$0")/../.." && pwd)/examples/requirements.txt
python="${FORESHARD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshard-test}/python"
if ! cmp -s "$wanted" "$python/requirements.txt"; then
  echo "installing what the Python examples import"
  rm -rf "$python"
  if python3 -m venv "$python" && "$python/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"; then
    cp "$wanted" "$python/requirements.txt"
  else
    echo "NOTE: $python cannot be made, see above"
  fi
fi
