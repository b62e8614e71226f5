#!/bin/sh
# Copies the jars of Apache Kafka (the version of pom.xml, or KAFKA_VERSION) and of their dependencies into a folder through Maven: all of them, or none.
#
#   download.sh FOLDER                an absolute path; does nothing if it exists
#   download.sh FOLDER --head-start   while npm downloads as well: only if a Java for them is installed and KAFKA_BROKERS is not set. It prints no
#                                     failure, because the command that starts Kafka tries again and prints it
set -eu
target=$1

[ ! -e "$target" ] || exit 0
if [ "${2:-}" = --head-start ]; then
  [ -z "${KAFKA_BROKERS:-}" ] && command -v mvn >/dev/null || exit 0
  "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])' || exit 0
  echo "Downloading the jars of Apache Kafka (44 MB) through Maven into ${target#"$PWD/"}"
  exec >/dev/null 2>&1
fi

unfinished=$target.$$
maven=
trap '[ -z "$maven" ] || kill "$maven" 2>/dev/null; rm -rf "$unfinished"' EXIT
trap 'exit 1' INT TERM HUP
mkdir -p "$(dirname "$target")"
# Maven runs for seconds, so only the first compiler is of use. In the background, so that a signal is handled at once.
MAVEN_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC ${MAVEN_OPTS:-}" mvn --batch-mode --quiet --file "$(dirname "$0")/pom.xml" \
  ${KAFKA_VERSION:+"-Dkafka.version=$KAFKA_VERSION"} -DincludeScope=runtime "-DoutputDirectory=$unfinished" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies &
maven=$!
wait "$maven"
maven=
# Another process may have been faster.
[ -e "$target" ] || mv "$unfinished" "$target"
