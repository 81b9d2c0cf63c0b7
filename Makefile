# Forebay's entry points. Plain `make` lists them; `make TARGET ARGS=...` hands more arguments to the program behind one.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# A stamp carries the lock file's checksum: an unchanged lock costs nothing, a changed one is installed again.
checksum = $(shell cksum < $(1) | cut -d' ' -f1)
RUNTIME := .venv/.runtime-$(call checksum,requirements.txt)
DEV := .venv/.dev-$(call checksum,requirements-dev.txt)
CODE := manage.py platform ingest tenants tests bench
CLIENT_TESTS := clients/python/tests tests/clients
TESTS := tests/unit tests/contract tests/integration tests/faults tests/e2e tests/tail $(CLIENT_TESTS)

.PHONY: help up demo test test-unit test-integration test-faults test-client check bench bench-console bench-client bench-tail lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(RUNTIME) ## Run the whole platform on this machine; Ctrl-C stops it (FOREBAY_PORT, default 8000)
	@exec $(BIN)/python manage.py up $(ARGS)

demo: $(RUNTIME) ## Fill the platform that `make up` runs with tenants, traffic and trouble, for the console
	@exec $(BIN)/python manage.py demo $(ARGS)

test: $(DEV) ## Run every test, on a real Kafka, Redis and PostgreSQL
	@$(BIN)/python -m pytest $(TESTS) $(ARGS)

test-unit: $(DEV) ## Run the tests that need no service (two to three minutes)
	@$(BIN)/python -m pytest tests/unit $(ARGS)

test-integration: $(DEV) ## Run the contract and integration tests
	@$(BIN)/python -m pytest tests/contract tests/integration $(ARGS)

test-faults: $(DEV) ## Run the fault tests (FULL=1: with the shipped windows)
	@$(BIN)/python -m pytest tests/faults $(ARGS)

test-client: $(DEV) ## Run the Python client's tests (FULL=1: away for 60 s)
	@$(BIN)/python -m pytest $(CLIENT_TESTS) $(ARGS)

check: export DATABASE_URL = sqlite://:memory:
check: $(DEV) ## Lint, format, types, layering, docs, migrations
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(CODE)
	@cd clients/python && ../../$(BIN)/mypy
	@$(BIN)/python manage.py check --fail-level WARNING
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/python -m pytest -q tests/unit/test_house.py tests/unit/test_docs.py

bench: $(RUNTIME) ## Measure on a real Kafka and print one table
	@exec $(BIN)/python -m bench $(ARGS)

bench-console: $(DEV) ## Measure the console's pages on 100,000 dead letters and 10,000 tenants
	@exec $(BIN)/python -m bench.console $(ARGS)

bench-client: $(RUNTIME) ## Measure what a log call costs an application that uses the Python client
	@PYTHONPATH=clients/python/src exec $(BIN)/python -m bench.client_log_call $(ARGS)

bench-tail: $(DEV) ## Measure how fast `forebay tail` reads a file of 1 GB, and sends one of 200 MB
	@exec $(BIN)/python -m bench.tail $(ARGS)

LOCKING = $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-header --quiet $(ARGS)
LOCK_HEADER := \# Locked from pyproject.toml, with hashes, for Python 3.11 to 3.13. `make lock` writes it anew.

lock: $(BIN)/uv ## Lock the requirements anew (ARGS=--upgrade takes newer releases)
	@$(LOCKING) --output-file requirements.txt
	@$(LOCKING) --output-file requirements-dev.txt --group dev
	@for file in requirements.txt requirements-dev.txt; do sed -i '1i $(LOCK_HEADER)' $$file; done

clean: ## Remove the virtual environment and the caches; var/ (journal, records, keys) stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	@find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

$(RUNTIME): requirements.txt | $(BIN)/python
	@$(call install,requirements.txt)

$(DEV): requirements-dev.txt | $(BIN)/python
	@$(call install,requirements-dev.txt)

$(BIN)/uv: | $(BIN)/python
	@$(BIN)/python -m pip --disable-pip-version-check install -q uv

# A dot a package: pip's own lines are hundreds, its errors go to standard error and stay visible.
define install
echo "installing $$(grep -c == $(1)) packages of $(1) into .venv (once)"
$(BIN)/python -m pip --disable-pip-version-check install --require-hashes --progress-bar off -r $(1) \
	| awk '/^(Collecting|Requirement already)/ { printf "."; fflush() } END { print "" }' && touch $@
endef

# A name on PATH may be a shim for a Python that is not there, and a distribution's python3 may lack ensurepip: each
# candidate is run before it is chosen.
USABLE = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
FOUND = $(firstword $(foreach python,$(or $(PYTHON),python3.13 python3.12 python3.11 python3),$(shell \
	$(python) -c '$(USABLE)' >/dev/null 2>&1 && echo $(python))))
LACKING = Forebay needs Python 3.11, 3.12 or 3.13 with venv: apt-get install python3 python3-venv \
	(or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3)

$(BIN)/python:
	@python=$(or $(FOUND),$(error $(LACKING))); echo "making .venv with $$($$python --version)" && \
		$$python -m venv --clear .venv
