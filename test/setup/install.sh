#!/usr/bin/env bash
# install.sh: brings what the tests need beyond npm, where it is missing: a Java runtime and Maven for Kafka and the schema
# registry, a container engine and a static busybox for the Kafka image, what the Python examples import, and Go with the
# modules of the Go client. From Debian's packages, as root, and from PyPI and Go's module proxy, into the cache; where that
# cannot be, it says so and the tests that need them skip (or fail, under CI=true).
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

# The Go that the client's go.mod asks for. A Go since 1.21 fetches it by itself; where there is none it comes from the
# module proxy, as Go itself would have it. test/support/go.ts looks in the same places.
root=$(cd "$(dirname "$0")/../.." && pwd)
cache="${FORESHARD_CACHE:-$root/.cache}"
[[ "$cache" == /* ]] || cache="$PWD/$cache"
toolchain=1.26.8
export GOFLAGS=-buildvcs=false
if [ -n "${FORESHARD_CACHE:-}" ]; then export GOMODCACHE="$cache/go-modules" GOCACHE="$cache/go-build"; fi
go_of() { (cd "$root/clients/go" && [[ "$("$1" env GOVERSION 2> /dev/null)" =~ ^go1\.(2[6-9]|[3-9][0-9]) ]]); }
go=""
for each in "$cache/go/bin/go" go /usr/local/go/bin/go; do
  if go_of "$each"; then go=$each && break; fi
done
if [ -z "$go" ]; then
  case "$(uname -sm)" in
    "Linux x86_64") arch=amd64 sum=30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7 ;;
    "Linux aarch64") arch=arm64 sum=02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99 ;;
    *) arch="" sum="" ;;
  esac
  if [ -n "$arch" ]; then
    echo "installing Go $toolchain"
    mkdir -p "$cache"
    python3 - "$cache" "v0.0.1-go$toolchain.linux-$arch" "$sum" << 'PYTHON' && go="$cache/go/bin/go" || true
import hashlib, io, os, shutil, sys, urllib.request, zipfile
cache, version, wanted = sys.argv[1:]
proxy = os.environ.get("GOPROXY", "").split(",")[0]
proxy = proxy if proxy.startswith("http") else "https://proxy.golang.org"
with urllib.request.urlopen(f"{proxy}/golang.org/toolchain/@v/{version}.zip", timeout=300) as answer:
    archive = answer.read()
if hashlib.sha256(archive).hexdigest() != wanted:
    sys.exit(f"the archive of {version} is not the one that was expected")
work = os.path.join(cache, f"go-{os.getpid()}")
zipfile.ZipFile(io.BytesIO(archive)).extractall(work)
unpacked = os.path.join(work, f"golang.org/toolchain@{version}")
for folder in ("bin", "pkg/tool"):
    for parent, _, names in os.walk(os.path.join(unpacked, folder)):
        for name in names:
            os.chmod(os.path.join(parent, name), 0o755)
shutil.rmtree(os.path.join(cache, "go"), ignore_errors=True)
os.rename(unpacked, os.path.join(cache, "go"))
shutil.rmtree(work)
PYTHON
  fi
fi
if [ -z "$go" ]; then
  echo "NOTE: no Go 1.26 or later is here, see above"
else
  for module in clients/go examples/mochi; do
    (cd "$root/$module" && "$go" mod download) || echo "NOTE: the modules of $module cannot be downloaded, see above"
  done
fi
