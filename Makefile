# Everything a newcomer needs: `make run` and `make test`. Each target makes what it depends on.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(VENV)/installed: pyproject.toml generated/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable ./generated --editable '.[dev]'
	@touch $@

.PHONY: install
install: $(VENV)/installed ## Make the virtual environment in .venv

# exec: Ctrl-C and SIGTERM reach the stack itself.
.PHONY: run
run: install ## Start PostgreSQL, the server and Envoy; Ctrl-C stops them
	@exec $(BIN)/python -m server.stack

.PHONY: test
test: install ## Run all tests
	$(BIN)/python -m pytest

.PHONY: lint
lint: install ## Check types, style, layers, the protos, and that they break no caller
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf format --diff --exit-code protos
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && set -ex && \
	$(BIN)/python protos/generate.py --lint-image $$scratch/now.binpb && \
	$(BIN)/buf lint $$scratch/now.binpb --config protos/buf.yaml && \
	git show HEAD:generated/analytics.binpb > $$scratch/before.binpb && \
	$(BIN)/buf breaking $$scratch/now.binpb --against $$scratch/before.binpb --config protos/buf.yaml

.PHONY: format
format: install ## Format the Python files and the protos
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

.PHONY: generate
generate: install ## Rebuild generated/ from protos/
	$(BIN)/python protos/generate.py

$(VENV)/bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $@

# ARGS, such as "--rows 1,4 --rounds 9", chooses.
.PHONY: bench
bench: $(VENV)/bench ## Measure against honest baselines, as ratios; needs h2load (apt-get install nghttp2-client)
	@$(BIN)/python -m tests.bench $(ARGS)

N ?= 100000
.PHONY: chaos
chaos: install ## Break the stack 200 times under load (ARGS="--rounds 20"), and send it thousands of random requests
	$(BIN)/python -m tests.chaos $(ARGS)
	CHAOS_CASES=2000 $(BIN)/python -m pytest tests/e2e/test_openapi.py tests/integration/test_any_message.py

.PHONY: seed
seed: install ## Store N=100000 realistic events in DATABASE_URL, for trials
	@$(BIN)/python -m tests.bench.seed $(N)

.PHONY: clean
clean: ## Remove the virtual environment and all caches; keeps .data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
