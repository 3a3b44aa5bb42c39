# Every target sets up $(VENV) by itself, with nothing but Python and pip.
# Another interpreter: make test PYTHON=python3.13 VENV=.venv313

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
RUN := $(BIN)/python -m
STAMP := $(VENV)/.installed
SOURCES := contracts broker client workers deploy tests

# Build environments are pinned too; older pips read the first name, newer ones the second.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo up test fuzz bench chaos soak record lint types imports check docs format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## the virtual environment, with the gateway and all tools in it

demo: $(STAMP)  ## NATS, two workers, an embedded store, a short true story, a verified audit trail
	$(BIN)/mallku-gateway demo $(ARGS)

up: $(STAMP)  ## the same gateway stays up and prints how to reach it
	$(BIN)/mallku-gateway up $(ARGS)

test: $(STAMP)  ## all tests, a process for each core; ARGS="-k name" goes to pytest
	$(RUN) pytest -n auto --maxprocesses 8 --dist loadfile $(ARGS)

fuzz: $(STAMP)  ## a million mutated messages, then queries, policies; ARGS="--help" says more
	@# Some Pythons have no wheel of what the last stage needs; it is left out there, and says so.
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	  $(RUN) pip install --quiet -c constraints.txt -e '.[fuzz]' || true
	$(RUN) tests.fuzz.run $(ARGS)

bench: $(STAMP)  ## the gateway beside its peers, in under five minutes; ARGS="--help" says more
	$(RUN) tests.benchmarks.run $(ARGS)

chaos: $(STAMP)  ## 30 minutes of faults under load, each round checked; ARGS="--seconds 120"
	$(RUN) tests.chaos.run $(ARGS)

soak: $(STAMP)  ## 30 minutes at half of capacity: does memory grow? ARGS="--seconds 120"
	$(RUN) tests.chaos.soak $(ARGS)

record: $(STAMP)  ## the store tests on a real ArangoDB, recorded; make record ARANGO_URL=http://…
	@test -n "$(ARANGO_URL)" || { echo "make: name the server: make record ARANGO_URL=…" >&2; exit 1; }
	ARANGO_URL=$(ARANGO_URL) MALLKU_RECORD=1 $(RUN) pytest tests/stores/test_recorded_operations.py
	ARANGO_URL=$(ARANGO_URL) $(RUN) pytest tests/stores $(ARGS)

lint: $(STAMP)  ## ruff: rules and format
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: $(STAMP)  ## mypy and pyright, both strict
	$(RUN) mypy
	$(RUN) pyright --pythonpath $(BIN)/python

imports: $(STAMP)  ## the import contracts: who may know whom
	$(BIN)/lint-imports

check: lint types imports  ## everything that reads the code without running it

docs: $(STAMP)  ## what in the documentation is made from the code
	$(BIN)/python docs/generate.py
	$(BIN)/python deploy/grafana/build.py

format: $(STAMP)  ## let ruff repair what it can
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

clean:  ## remove what make and the tools put here
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: there is no '$(PYTHON)' here. Name a Python 3.11 or newer:" \
	       "make $(or $(firstword $(MAKECMDGOALS)),setup) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: the gateway needs Python 3.11 or newer, and '$(PYTHON)' is" \
	       "$$($(PYTHON) --version 2>&1). Name another:" \
	       "make $(or $(firstword $(MAKECMDGOALS)),setup) PYTHON=python3.11" >&2; exit 1; }
	@# Debian's python3 without python3-venv cannot put pip into an environment; its own pip can.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) >/dev/null || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(RUN) pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
