#!/bin/sh
# One broker of Kafka for trying out, where there is no Docker: `sh examples/tutorial/kafka.sh [HOST:PORT]`. Needs Java 17 and Maven.
# The jars are fetched once, into build/kafka, where its data stand as well: delete the folder to begin anew. Ctrl-C ends it.
set -eu
address=${1:-127.0.0.1:9092}
cd "$(dirname "$0")/../.."
folder=${KAFKA_FOLDER:-$PWD/build/kafka}

for each in java mvn; do
    if ! command -v "$each" >/dev/null; then
        echo "kafka: there is no '$each' on the PATH. Needed: Java 17 or newer, and Maven (Debian, Ubuntu: apt-get install default-jre-headless maven)." >&2
        exit 1
    fi
done
mkdir -p "$folder"
if [ ! -d "$folder/jars" ]; then
    echo "kafka: fetching Kafka 4.1 by Maven (once; about a minute)"
    rm -rf "$folder/part"
    mvn -B -q -Dstyle.color=never -f tests/live/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$folder/part"
    mv "$folder/part" "$folder/jars"
fi

# Its controller has a port of its own, the next one.
controller=${address%:*}:$((${address##*:} + 1))
cat >"$folder/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://$address,CONTROLLER://$controller
advertised.listeners=PLAINTEXT://$address
log.dirs=$folder/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# A mistyped topic is an error, not a new topic.
auto.create.topics.enable=false
END
run() { java -Xmx512m -XX:+UseSerialGC -Dlog4j2.level=ERROR -cp "$folder/jars/*" "$@"; }
run kafka.tools.StorageTool format --ignore-formatted --cluster-id 5L6g3nShT-eMCtK--X86sw --config "$folder/server.properties" >/dev/null
echo "kafka: starting on $address, which takes some seconds; it then says nothing more. End it with Ctrl-C."
exec java -Xmx512m -XX:+UseSerialGC -Dlog4j2.level=ERROR -cp "$folder/jars/*" kafka.Kafka "$folder/server.properties"
