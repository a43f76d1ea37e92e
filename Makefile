# Plaudit's one entry point. `make` alone lists the targets; `run` and `test` need Python >= 3.11 and make, no more.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
# Hashed locks only, from whichever registry pip is set up with.
LOCKED := $(PIP) --require-hashes
# The build tools come from requirements-build.lock, so pip must not fetch its own.
EDITABLE := $(PIP) --no-deps --no-build-isolation --editable .

# A virtual environment whose Python has gone, or that was made for another folder, is made again.
VENV_OK := $(shell [ "$$(cat $(VENV)/.made-for 2>/dev/null)" = "$$(pwd -P)" ] && $(BIN)/python -c 'import pip' 2>/dev/null && echo yes)

PYTHON_CANDIDATES := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python
# ensurepip is what `python -m venv` needs and what some distributions leave out.
PYTHON_TEST := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

.PHONY: help run test engines check format docs faults bench bench-all bench-cluster bench-routing capacity soak lock clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.runtime ## set up what is missing, then serve the API and the demo page
	@exec $(BIN)/plaudit serve --demo

test: $(VENV)/.dev ## set up what is missing, then run every test (ARGS="-k name" narrows)
	@sh tests/install-system.sh test
	@sh tests/install-node.sh
	@$(BIN)/python -m pytest -n 2 $(ARGS)

engines: $(VENV)/.dev ## start real Cassandra, Kafka and Redis Cluster for experiments (ARGS="cassandra --nodes 3")
	@sh tests/install-system.sh test
	@exec $(BIN)/python -m tests.engines $(ARGS)

check: $(VENV)/.dev ## lint, formatting, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev ## apply the formatter and the safe lint fixes
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## write the reference pages (settings, errors, metrics, command line, calls) from the code
	@$(BIN)/python -m docs.generate

faults: $(VENV)/.dev ## faults of both profiles under load; writes docs/*faults.md (ARGS="cluster")
	@sh tests/install-system.sh test
	@$(BIN)/python -m tests.faults $(ARGS)

bench: $(VENV)/.dev ## measure the embedded profile; prints hardware and versions beside each figure (2 minutes)
	@sh tests/install-system.sh bench
	@$(BIN)/python -m benchmarks.run $(ARGS)

bench-all: $(VENV)/.dev ## list every benchmark of both profiles with its minutes (ARGS="cold hot" or ARGS=all runs them)
	@[ -z "$(ARGS)" ] || { sh tests/install-system.sh test; sh tests/install-system.sh bench; }
	@$(BIN)/python -m benchmarks.every $(ARGS)

bench-cluster: $(VENV)/.dev ## measure the cluster profile against the plain design and PostgreSQL (19 minutes)
	@sh tests/install-system.sh test
	@sh tests/install-system.sh bench
	@$(BIN)/python -m benchmarks.cluster $(ARGS)

bench-routing: $(VENV)/.dev ## measure one target, split over lanes and not, through nginx and three processes (5 minutes)
	@sh tests/install-system.sh test
	@sh tests/install-system.sh bench
	@$(BIN)/python -m benchmarks.cluster.routed $(ARGS)

capacity: $(VENV)/.dev ## play the design loads with the model of the cluster; writes docs/capacity.md
	@$(BIN)/python -m benchmarks.model $(ARGS)

soak: $(VENV)/.dev ## a long run with kill -9 every two minutes (ARGS="--minutes 20 --kill-every-s 120")
	@$(BIN)/python -m benchmarks.soak $(ARGS)

# Keeps the versions that are locked already; UPGRADE=1 moves them all.
COMPILE = $$uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

lock: ## bring the requirements*.lock files in step with pyproject.toml (UPGRADE=1: newest versions)
	@set -e; uv=$$(command -v uv) || { \
		uv=.cache/uv/bin/uv; [ -x $$uv ] || { $(MAKE) --no-print-directory $(VENV)/.made-for; \
		$(BIN)/python -m venv .cache/uv; .cache/uv/bin/python -m pip --quiet install uv; }; }; \
	$(COMPILE) pyproject.toml --group dev --output-file requirements-dev.lock; \
	$(COMPILE) pyproject.toml --constraint requirements-dev.lock --output-file requirements.lock; \
	$(COMPILE) pyproject.toml --extra cluster --constraint requirements-dev.lock --output-file requirements-cluster.lock; \
	$(COMPILE) --group build --constraint requirements-dev.lock --output-file requirements-build.lock; \
	echo "locks are in step with pyproject.toml"

clean: ## remove the virtual environment and every cache; ./data stays
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find src tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

ifneq ($(VENV_OK),yes)
$(VENV)/.made-for: FORCE
endif
$(VENV)/.made-for:
	@for python in $(PYTHON_CANDIDATES); do \
		if $$python -c '$(PYTHON_TEST)' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Plaudit needs Python 3.11 or newer with its venv module (on Debian: apt-get install python3-venv)." >&2; \
		echo "None of these will do: $(PYTHON_CANDIDATES). Name another with 'make PYTHON=/path/to/python3'." >&2; \
		exit 1; \
	fi; \
	echo "creating $(VENV) with $$($$found --version)"; \
	$$found -m venv --clear $(VENV) && pwd -P > $@

$(VENV)/.runtime: requirements.lock requirements-build.lock pyproject.toml $(VENV)/.made-for
	@echo "installing Plaudit and what it runs on"
	@$(LOCKED) -r requirements.lock -r requirements-build.lock
	@$(EDITABLE)
	@touch $@

# Also stands for .runtime: the development lock holds everything of the other two.
$(VENV)/.dev: requirements-dev.lock pyproject.toml $(VENV)/.made-for
	@echo "installing Plaudit and its development tools"
	@$(LOCKED) -r requirements-dev.lock
	@$(EDITABLE)
	@touch $@ $(VENV)/.runtime

FORCE:
