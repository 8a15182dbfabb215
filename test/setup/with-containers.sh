#!/usr/bin/env bash
# with-containers.sh COMMAND...: runs COMMAND where testcontainers find an engine and an image of Kafka. An engine that
# answers is used; else dockerd is started as root, with its data in the cache, and ended afterwards with all that it ran.
# Where that cannot be it says why, and COMMAND runs without.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache="${FORESHARD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshard-test}"
mkdir -p "$cache"
engine=
had_bridge=$([ -e /sys/class/net/docker0 ] && echo yes || echo no)

stop() {
  [ -n "$engine" ] || return 0
  docker ps -aq | xargs -r docker rm -f > /dev/null 2>&1 || true
  kill "$engine" 2> /dev/null || true
  wait "$engine" || true
  [ "$had_bridge" = yes ] || ip link delete docker0 2> /dev/null || true
}
trap stop EXIT
trap 'exit 130' INT TERM

start() {
  command -v dockerd > /dev/null || { echo "there is no dockerd (test/setup/install.sh brings it)"; return 1; }
  [ "$(id -u)" -eq 0 ] || { echo "only root can start dockerd"; return 1; }
  # Published ports go through its proxy, so that this machine's packet filter stays as it is.
  setsid dockerd --data-root "$cache/docker" --iptables=false --ip-forward=false > "$cache/dockerd.log" 2>&1 < /dev/null &
  engine=$!
  for _ in $(seq 60); do
    if docker info > /dev/null 2>&1; then return 0; fi
    kill -0 "$engine" 2> /dev/null || break
    sleep 0.5
  done
  echo "dockerd does not answer: $(grep -iE 'error|fatal|failed' "$cache/dockerd.log" | tail -1)"
  kill "$engine" 2> /dev/null || true
  engine=
  return 1
}

if docker info > /dev/null 2>&1 || start; then
  # The image is another one when what it is made from is.
  image="foreshard/kafka-for-tests:$(cat "$here"/kafka-image* "$here/../support/kafka-jars.ts" | cksum | cut -d ' ' -f 1)"
  if ! docker image inspect "$image" > /dev/null 2>&1; then
    docker images -q "${image%:*}" | xargs -r docker rmi -f > /dev/null
    npx --no-install tsx "$here/kafka-image.ts" "$image"
  fi
  export FORESHARD_KAFKA_IMAGE="$image" TESTCONTAINERS_RYUK_DISABLED=true
else
  echo "NOTE: no container can run here, see above"
fi
"$@"
