# Every command of the project. What is missing is installed first, into this folder alone: its own Node.js and packages into node_modules,
# Kafka into .cache. Needs npm (with any Node.js from 20 on); for Kafka a JDK 17 with Maven, or Docker.

# The project's own Node.js; the machine's where there is none for this platform.
NODE = $(shell test -x node_modules/.bin/node && echo node_modules/.bin/node || echo node)
INSTALLED = node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help start sweep test lint format clean

help: ## Shows this
	@echo 'Captures Pokémon, streams them through Kafka and counts their types, exactly once.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Settings are environment variables, or lines of a file .env: see .env.example.'

start: $(INSTALLED) ## Runs everything on this machine, a capture a second, until Ctrl-C
	@$(NODE) dev/start.ts

sweep: $(INSTALLED) ## Captures every Pokémon once, and checks that each was counted once
	@$(NODE) dev/sweep.ts

test: $(INSTALLED) ## Runs every test, or those of FILES=…
	@$(NODE) dev/run-tests.ts $(FILES)

lint: $(INSTALLED) ## Checks format, rules and types
	@npm run --silent lint

format: $(INSTALLED) ## Formats what can be formatted
	@npm run --silent format

clean: ## Removes what the commands have put here: packages, Kafka, data and counts
	@pid=$$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' data/running.json 2>/dev/null); \
	if [ -n "$$pid" ] && kill -0 "$$pid" 2>/dev/null; then \
	  echo "A command is running here (process $$pid): stop it with Ctrl-C, then clean."; exit 1; \
	fi
	rm -rf node_modules .cache coverage data output type-counts.json

$(INSTALLED): package-lock.json
	@command -v npm >/dev/null || { echo 'npm is missing: install Node.js (https://nodejs.org, version 20 or newer), which brings it.'; exit 1; }
	@echo 'Downloading the packages of package-lock.json with npm into node_modules'
	@npm ci --no-progress
	@touch $@
	@test -x node_modules/.bin/node || case $$(node --version) in v2[6-9]*|v[3-9]*) ;; *) \
	  echo 'There is no package of Node.js 26 for this platform: install Node.js 26 (https://nodejs.org) on the PATH.'; exit 1 ;; esac
