#!/bin/sh
# What runs in the image of kafka-image.sh: KAFKA_NODE_ID=1 becomes node.id=1 and so on, the data folder is formatted once,
# and the broker takes the place of this shell.
set -euf # The class path has a star of its own.

properties=/opt/kafka/server.properties
data=/opt/kafka/data
echo "log.dirs=$data" > "$properties"
env | sed -n 's/^KAFKA_//p' | while IFS= read -r line; do
  name=${line%%=*}
  case $name in HEAP_OPTS) continue ;; esac
  echo "$(echo "$name" | tr 'A-Z_' 'a-z.')=${line#*=}" >> "$properties"
done

log=/opt/kafka/log4j2.properties
cat > "$log" <<X
rootLogger.level=INFO
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %m (%c)%n
X

kafka() { exec /opt/java/bin/java "$@"; }
on="-XX:+UseSerialGC -Dlog4j2.configurationFile=$log -cp /opt/kafka/*"
if [ ! -e "$data/meta.properties" ]; then
  (kafka -Xmx128m -XX:TieredStopAtLevel=1 $on kafka.tools.StorageTool format -t Zm9yZXNoYXJkLXRlc3RzMQ -c "$properties")
fi
kafka ${KAFKA_HEAP_OPTS:--Xmx512m} $on kafka.Kafka "$properties"
