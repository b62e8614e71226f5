# Every command of the project. Each first installs what is missing, only into this folder: Node.js and packages into node_modules, Kafka into
# .cache. Needs npm (with any Node.js from 20 on); for Kafka a JDK 17 with Maven, or Docker.

# The project's own Node.js; the machine's if there is none for this platform.
NODE = $(shell test -x node_modules/.bin/node && echo node_modules/.bin/node || echo node)
# Installed for running, and additionally for testing and linting.
RUNNABLE = node_modules/.package-lock.json
LINTER = node_modules/@biomejs/biome
COMPLETE = $(if $(wildcard $(LINTER)),$(RUNNABLE),$(LINTER))
KAFKA_JARS = .cache/kafka-$(or $(KAFKA_VERSION),$(shell sed -n 's/.*<kafka.version>\(.*\)<.*/\1/p' dev/kafka/pom.xml))/libs

# One file at a time, because each uses the whole machine.
TEST_ALONE = $(NODE) --test --test-concurrency=1 --test-reporter=spec

# How many consumers `make up` starts.
export CONSUMERS
# With and without the local PokeAPI.
COMPOSE = docker compose -f compose.yaml -f compose.bundled.yaml

.DEFAULT_GOAL := help
.PHONY: help start sweep demo-kill test test-faults lint format clean up up-with-logs down test-compose bench bench-smoke

help: ## Shows this list
	@echo 'Captures Pokémon, streams them through Kafka and counts their types, exactly once.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Settings are environment variables, or lines of a file .env: see .env.example.'

start: $(RUNNABLE) ## Runs everything on this machine, one capture a second, until Ctrl-C
	@$(NODE) dev/start.ts

sweep: $(RUNNABLE) ## Captures every Pokémon once, and checks that each was counted once
	@$(NODE) dev/sweep.ts

demo-kill: $(RUNNABLE) ## Sweeps while both services are killed five times each, and verifies the counts
	@OUTPUT_FILE=data/demo-kill/type-counts.json $(NODE) dev/sweep.ts --kills 5 --data data/demo-kill

up: ## Starts everything in containers (needs Docker); CONSUMERS=3 starts three consumers, their pages on CONSUMER_PORTS=8090-8092
	@dev/compose-up.sh

up-with-logs: ## Starts everything in containers and follows the logs; Ctrl-C stops it and keeps the counts
	@dev/compose-up.sh && { trap : INT; $(COMPOSE) logs --follow poke-api-producer poke-api-consumer; $(COMPOSE) down; }

down: ## Stops the containers and keeps the counts
	@$(COMPOSE) down

test-compose: $(COMPLETE) ## Tests the containers: up, down, stops and kills (needs Docker)
	@$(NODE) --test --test-reporter=spec 'system-tests/compose/*.test.ts'

test: $(COMPLETE) ## Runs every test, or only FILES=…
	@$(NODE) dev/run-tests.ts $(FILES)

test-faults: $(COMPLETE) ## Runs every fault in full, an hour or more; SEED=… repeats a run
	@export FAULTS=long SEED="$${SEED:-$$(date +%s)}" INTERLEAVINGS=2000; echo "SEED=$$SEED"; failed=0; \
	$(TEST_ALONE) $(or $(FILES),'system-tests/faults/*.test.ts') || failed=1; \
	$(if $(FILES),,for part in 1 2 3 4 5; do INTERLEAVINGS_SEED=$$((SEED + part)) $(TEST_ALONE) 'poke-api-*/test/interleavings.test.ts' || failed=1; done;) \
	exit $$failed

bench: $(COMPLETE) ## Measures speed, memory and latency beside Kafka's own consumer (15 minutes or more, on a quiet machine)
	@$(NODE) benchmarks/bench.ts

bench-smoke: $(COMPLETE) ## Runs every measurement briefly, to check that none is broken
	@$(NODE) benchmarks/bench.ts --smoke

lint: $(COMPLETE) ## Checks format, lint rules and types
	@npm run --silent lint

format: $(COMPLETE) ## Formats the code
	@npm run --silent format

clean: ## Removes everything that the commands created here: packages, Kafka, data and counts (not the volumes of containers)
	@for pid in $$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' data/running.json data/*/running.json 2>/dev/null); do \
	  if kill -0 "$$pid" 2>/dev/null; then echo "Nothing was removed, because a command is running here (process $$pid): stop it with Ctrl-C first."; exit 1; fi; \
	done
	rm -rf node_modules .cache coverage data output type-counts.json

# Kafka's jars and npm's packages are downloaded at the same time, because both downloads mostly wait for the network.
start sweep demo-kill test: HEAD_START = dev/kafka/download.sh "$(CURDIR)/$(KAFKA_JARS)" --head-start & trap "kill $$! 2>/dev/null" EXIT; trap 'exit 130' INT;

# A complete installation stays complete.
$(RUNNABLE): package-lock.json
	@$(call install,$(if $(wildcard $(LINTER)),,--omit=dev))

$(LINTER): package-lock.json
	@$(call install,)

define install
command -v npm >/dev/null || { echo 'npm is missing: install Node.js (https://nodejs.org, version 20 or newer), which includes it.'; exit 1; }; \
echo 'Downloading the packages of package-lock.json with npm into node_modules'; \
$(HEAD_START) npm ci $(1) --no-progress --loglevel=error; status=$$?; wait; [ $$status = 0 ] || exit $$status; touch $(RUNNABLE); \
test -x node_modules/.bin/node || case $$(node --version) in v2[6-9]*|v[3-9]*) ;; *) \
  echo 'There is no package of Node.js 26 for this platform: install Node.js 26 (https://nodejs.org) and add it to the PATH.'; exit 1 ;; esac
endef
