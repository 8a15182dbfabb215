#!/usr/bin/env bash
# kafka-image.sh JARS IMAGE: makes a container image of Kafka without pulling anything: this machine's Java runtime with the
# libraries that it links to, a static busybox as the shell, Maven's jars, and kafka-image-entry.sh, which takes its
# settings as the image apache/kafka does.
set -euo pipefail

jars=$1
image=$2
here=$(cd "$(dirname "$0")" && pwd)
java=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{bin,etc,tmp,opt/java,opt/kafka}
chmod 1777 "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"; done
echo 'root:x:0:0:root:/:/bin/sh' > "$root/etc/passwd"

# Debian keeps the runtime's configuration elsewhere and links to it.
tar -C "$java" --dereference --exclude=./jmods --exclude=./docs --exclude=./man --exclude='./lib/src.zip' -c . | tar -C "$root/opt/java" -x
# What it links to, each where its loader looks for it. Without fonts and windows: their libraries are not installed.
find "$java/bin/java" "$java/lib" -name java -o -name '*.so' | while read -r file; do ldd "$file" 2> /dev/null || true; done |
  grep -o '/[^ ]*' | grep -v "^$java" | sort -u | while read -r library; do
    [ ! -e "$library" ] || cp -L --parents "$library" "$root"
  done

cp -L "$jars"/*.jar "$root/opt/kafka/"
cp "$here/kafka-image-entry.sh" "$root/opt/kafka/entry.sh"
chmod 755 "$root/opt/kafka/entry.sh"
tar -C "$root" -c . | docker import --change 'ENTRYPOINT ["/opt/kafka/entry.sh"]' - "$image" > /dev/null
