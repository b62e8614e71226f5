#!/bin/sh
# Starts the containers of compose.yaml in the background, and prints the address of the page. Fails if any step fails.
# From the environment: CONSUMERS, how many consumers (1); CONSUMER_PORTS, a port or a range of them on this machine, at least one a consumer.
set -eu

fail() {
  echo "$1" >&2
  exit 64
}

# Whether .env gives a variable a value, in each form that docker compose accepts: with export, spaces, quotation marks, a byte order mark before it.
in_env_file() {
  LC_ALL=C grep -qsE "^[^A-Za-z#]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*[\"']?[^\"'[:space:]#]" .env
}

consumers=${CONSUMERS:-1}
case $consumers in
'' | 0* | *[!0-9]*) fail "CONSUMERS is \"$consumers\": give a whole number from 1, as CONSUMERS=3" ;;
esac
if [ "$consumers" -gt 1 ] && [ -z "${CONSUMER_PORTS:-}" ] && ! in_env_file CONSUMER_PORTS; then
  CONSUMER_PORTS=8090-$((8089 + consumers))
  export CONSUMER_PORTS
fi
if [ -n "${CONSUMER_PORTS:-}" ]; then
  first=${CONSUMER_PORTS%%-*}
  last=${CONSUMER_PORTS##*-}
  case $first$last in
  *[!0-9]*) fail "CONSUMER_PORTS is \"$CONSUMER_PORTS\": give a port, or a range of ports, as 8090-8092" ;;
  esac
  ports=$((last - first + 1))
  [ "$ports" -ge "$consumers" ] || fail "CONSUMER_PORTS=$CONSUMER_PORTS has $ports ports, and $consumers consumers need one each: set CONSUMER_PORTS=$first-$((first + consumers - 1))"
fi

# PokeAPI itself if it answers, else the local one. The producer's container asks, through its proxy. POKE_API_URL, from the environment or .env,
# overrides both.
answers=0
if [ -z "${POKE_API_URL:-}" ] && ! in_env_file POKE_API_URL; then
  docker compose -f compose.yaml run --build --rm --no-deps --no-TTY poke-api-producer check-api || answers=$?
fi
case $answers in
0) files='-f compose.yaml' ;;
75)
  files='-f compose.yaml -f compose.bundled.yaml'
  echo 'PokeAPI does not answer from here: the Pokémon come from the bundled Pokédex.'
  echo 'Other docker compose commands would use the live one again: export COMPOSE_FILE=compose.yaml:compose.bundled.yaml for them'
  ;;
*) exit "$answers" ;;
esac

# shellcheck disable=SC2086 # several words
docker compose $files up --detach --build --remove-orphans --scale "poke-api-consumer=$consumers"

i=1
while [ "$i" -le "$consumers" ]; do
  address=$(docker compose $files port --index "$i" poke-api-consumer 8080)
  echo "The page: http://$address"
  i=$((i + 1))
done
echo "The counts: ${OUTPUT_DIR:-output}/type-counts.json"
