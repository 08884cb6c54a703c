SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
# Processes that run tests side by side, each with servers of its own: one more than two cores, for each waits a part of
# the time. 0 shows what tests print (with PYTEST_ARGS=-s).
TEST_WORKERS ?= 3
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)

.DEFAULT_GOAL := help
.PHONY: help setup check test test-neo4j-2026 simulate fuzz chaos endurance provocations bench bench-quick bench-compare dashboards hashes digest docs demo up down stack-up stack-down

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Everything Python, once; again when a pin changes. Debian has the module that makes environments in a package apart.
$(VENV)/.ready: requirements.txt requirements-tracing.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Spindle needs Python 3.11 or newer; set PYTHON=python3.x")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get update -q && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3-venv; } </dev/null || \
	  { echo "$(PYTHON) can't make virtual environments, and python3-venv could not be installed: install it and try again" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

setup: $(VENV)/.ready ## create the virtual environment

check: $(VENV)/.ready ## ruff, mypy --strict, import-linter, dashboards and the configuration page up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m monitoring --check
	$(BIN)/python -m spindle.reference --check
	$(BIN)/python -m spindle.refinement.reference --check
	$(BIN)/python -m spindle.usage --check

# Files in their order, in which the long ones come first: by number of tests the demo would begin as the last.
# Without the servers (no root, no apt-get) the tests that need them say so, unless the environment names others.
test: $(VENV)/.ready ## install the servers, run all tests on servers of their own (PYTEST_ARGS=…)
	-$(BIN)/python -m devstack install </dev/null
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS) </dev/null

# `make test` has a Neo4j of the newest version for what its errors mean; this has it for everything of the graph.
GRAPH_TESTS := tests/contract/test_graph_sink.py tests/integration/test_graph_*.py $(patsubst %,tests/integration/test_%.py,\
  check grants ledger newest_load removal verify) tests/unit/graphinator
test-neo4j-2026: export NEO4J_VERSION := 2026.09
test-neo4j-2026: $(VENV)/.ready ## run the tests of the graph on Neo4j 2026.09, which needs Java 21 (PYTEST_ARGS=…)
	-$(BIN)/python -m devstack install </dev/null
	TEST_SERVERS=native $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile -k 'not 5.26' $(GRAPH_TESTS) $(PYTEST_ARGS) </dev/null

dashboards: $(VENV)/.ready ## write dashboards and alert rules anew from the package monitoring
	$(BIN)/python -m monitoring

# One line a package, so that the Dockerfile can leave some out. It asks the index that pip asks, and takes minutes.
TRACING_PINS = ^($$(sed -n 's/==.*//p' requirements-tracing.txt | paste -sd '|'))==
hashes: $(VENV)/.ready ## write requirements*.hashes.txt, from which the images are made, after a change of requirements*.txt
	mkdir -p build
	$(BIN)/python -m piptools compile --quiet --generate-hashes --no-emit-index-url --no-emit-options --no-annotate --no-header \
	  --strip-extras --allow-unsafe --output-file build/hashes.txt \
	  requirements.txt requirements-tracing.txt
	sed -i -e ':a' -e '/\\$$/N; s/ *\\\n */ /; ta' build/hashes.txt
	{ head -1 requirements.hashes.txt && grep -viE "$(TRACING_PINS)" build/hashes.txt; } >build/hashes.new
	{ head -1 requirements-tracing.hashes.txt && grep -iE "$(TRACING_PINS)" build/hashes.txt; } >build/tracing.new
	mv build/hashes.new requirements.hashes.txt
	mv build/tracing.new requirements-tracing.hashes.txt

# A release does this. Not checked in: a digest is of one registry, and an image that was built or mirrored has another.
digest: ## write the base image's digest of today into the Dockerfile, so that every build starts from the same bytes
	@image=$$(sed -n 's/^ARG PYTHON_IMAGE=\([^@]*\).*/\1/p' Dockerfile); \
	digest=$$(docker buildx imagetools inspect "$$image" --format '{{.Manifest.Digest}}') && \
	[[ $$digest =~ ^sha256:[0-9a-f]{64}$$ ]] || { echo "no registry tells the digest of $$image" >&2; exit 1; }; \
	sed -i "s|^ARG PYTHON_IMAGE=.*|ARG PYTHON_IMAGE=$$image@$$digest|" Dockerfile && echo "$$image@$$digest"

docs: $(VENV)/.ready ## write the pages of docs/ that are made from code: commands, configuration, refined tables
	$(BIN)/python -m spindle.usage >docs/commands.md.new && mv docs/commands.md.new docs/commands.md
	$(BIN)/python -m spindle.reference >docs/configuration.md.new && mv docs/configuration.md.new docs/configuration.md
	$(BIN)/python -m spindle.refinement.reference >docs/refined-tables.md.new && mv docs/refined-tables.md.new docs/refined-tables.md

bench: $(VENV)/.ready ## measure everything beside what it replaces: half an hour, build/bench.json (BENCH_ARGS=…)
	-$(BIN)/python -m devstack install </dev/null
	$(BIN)/python -m bench $(BENCH_ARGS)

bench-quick: $(VENV)/.ready ## the same with few records, in some minutes
	-$(BIN)/python -m devstack install </dev/null
	$(BIN)/python -m bench --quick $(BENCH_ARGS)

bench-compare: $(VENV)/.ready ## which figures differ between two results by more than their noise (OLD=… NEW=…)
	$(BIN)/python -m bench.compare $(OLD) $(NEW)

simulate: $(VENV)/.ready ## the runtime under drawn faults, on a virtual clock (SEEDS=200000, FIRST=…; SEED=… tells one story)
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20000) --first $(or $(FIRST),0))

chaos: $(VENV)/.ready ## real servers and services under drawn faults, every record counted (RUNS=300 SEED=…; RUN=… is one of them)
	-$(BIN)/python -m devstack install </dev/null
	$(BIN)/python -m tests.chaos $(if $(RUN),--run $(RUN),--runs $(or $(RUNS),20)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(MINUTES),--minutes $(MINUTES))

endurance: $(VENV)/.ready ## full load and restarts for MINUTES=60: memory, descriptors and tasks flat, all stored; build/endurance.json
	-$(BIN)/python -m devstack install </dev/null
	$(BIN)/python -m tests.endurance --minutes $(or $(MINUTES),60)

provocations: $(VENV)/.ready ## make what limits a load, one thing after the other, and see what `spindle advise` says (ONLY=…)
	-$(BIN)/python -m devstack install </dev/null
	$(BIN)/python -m tests.provocations --json build/provocations.json $(if $(ONLY),--only $(ONLY))

fuzz: $(VENV)/.ready ## any bytes for what reads bytes, each target for MINUTES=10; build/fuzz.json
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

demo: $(VENV)/.ready ## start the stack, load and verify records (DUMPS=folder, STACK=compose|native, DEMO_ARGS=…)
	$(BIN)/python -m devstack demo $(if $(DUMPS),--dumps '$(DUMPS)') $(if $(STACK),--stack '$(STACK)') $(DEMO_ARGS)

up: ## start servers, services and what watches them as containers (UP_ARGS='--scale tableinator=3')
	@deploy/up.sh $(UP_ARGS)

# Without the virtual environment nothing was started natively, and stopping is no time to make one.
down: ## stop what demo, up or stack-up started; the data stays
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m devstack down; fi
	@if docker version >/dev/null 2>&1; then docker compose --profile '*' down; fi

stack-up: $(VENV)/.ready ## start servers and services as native processes
	$(BIN)/python -m devstack up

stack-down: ## stop them; the data stays
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m devstack down; else echo "nothing was started: there is no $(VENV)"; fi
