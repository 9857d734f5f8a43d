# Every target sets up what it needs first; a second run sets up nothing. See CONTRIBUTING.md.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
WORKERS ?= 2
TORCH_VERSION := 2.13.0

VENV := .venv
BIN := $(VENV)/bin
CLIENTS := .venv-clients
PAI := .venv-pai
LOCK := requirements/lock.txt
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint $(LOCK)
# Any build of that version will do: 2.13.0, 2.13.0+cpu, 2.13.0+cu130.
HAS_TORCH := $(BIN)/python -c 'import sys; from importlib.metadata import version; sys.exit(version("torch").split("+")[0] != "$(TORCH_VERSION)")'
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest
CODE := src tests scripts benchmarks

.PHONY: quickstart test test-parallel test-cluster test-failed test-fast check format docs bench lock setup setup-dev setup-clients clean
.DEFAULT_GOAL := help

## quickstart   train the embedded model on the sample preferences, show what changed, and deploy it
quickstart: $(VENV)/.runtime
	@$(BIN)/quickalign quickstart

## test         every test this machine can run
test:
	@$(MAKE) --no-print-directory test-parallel
	@$(MAKE) --no-print-directory test-cluster

## test-parallel all but those that start a Ray cluster, several at a time
test-parallel: setup-dev setup-clients
	@$(PYTEST) -n $(WORKERS) --dist worksteal -q --durations 40 -m "not cluster"

## test-cluster the tests on a Ray cluster of several nodes on this machine, one at a time
test-cluster: $(VENV)/.dev
	@$(PYTEST) -q --durations 10 -m cluster

## test-failed  what failed in the last run, one test at a time, for a machine that was too busy
test-failed: $(VENV)/.dev
	@$(PYTEST) --last-failed --last-failed-no-failures none -q

## test-fast    only the tests that take no more than about ten seconds each
test-fast: $(VENV)/.dev
	@$(PYTEST) -n $(WORKERS) --dist worksteal -q -m "not slow"

## check        style, types, floors, file lengths, and that every option is documented
check: $(VENV)/.dev
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/check_file_length.py $(CODE)
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/unit/test_docs.py

## format       rewrite the code in the house style
format: $(VENV)/.dev
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

## bench        pairs/s and peak memory against TRL at its best (DATA=a preference file; takes an hour on 2 cores)
bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.dpo_vs_trl $(if $(DATA),--data $(DATA))

## docs         write the hyperparameter reference again from the options' own descriptions
docs: $(VENV)/.runtime
	@$(BIN)/python scripts/write_reference.py

## lock         resolve pyproject.toml in a fresh environment and write requirements/lock.txt again
lock:
	@$(PYTHON) scripts/write_lock.py --torch torch==$(TORCH_VERSION)

## setup        only the environment that quickstart needs
setup: $(VENV)/.runtime

## setup-dev    only the environment that test and check need
setup-dev: $(VENV)/.dev

## setup-clients only the environments of other people's clients
setup-clients: $(CLIENTS)/.done $(PAI)/.done

## clean        remove the environment and every cache
clean:
	rm -rf $(VENV) $(CLIENTS) $(PAI) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

help:
	@sed -n 's/^## //p' Makefile

$(BIN)/python:
	@echo "Setting up $(VENV) with $(PYTHON) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "quickalign needs Python 3.11 or newer; name one with make PYTHON=...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# PyTorch goes first and by itself: what depends on it then takes the build that is there.
$(VENV)/.runtime: pyproject.toml $(LOCK) | $(BIN)/python
	@$(HAS_TORCH) 2>/dev/null || { echo "Installing PyTorch $(TORCH_VERSION)"; $(PIP) torch==$(TORCH_VERSION); }
	@echo "Installing quickalign and its locked dependencies"
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Installing the locked development tools"
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

# Other people's clients, in an environment of their own: they pin what quickalign does not, and need no PyTorch.
$(CLIENTS)/.done: requirements/clients.txt | $(BIN)/python
	@echo "Installing the clients that the tests talk to a service with"
	@$(BIN)/python -m venv $(CLIENTS) || { rm -rf $(CLIENTS); exit 1; }
	@$(CLIENTS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --requirement requirements/clients.txt
	@touch $@

# PAI's stock client, which wants an older NumPy than everything else.
$(PAI)/.done: requirements/pai-client.txt | $(BIN)/python
	@echo "Installing PAI's stock client, which the tests let talk to a server"
	@$(BIN)/python -m venv $(PAI) || { rm -rf $(PAI); exit 1; }
	@$(PAI)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --requirement requirements/pai-client.txt
	@touch $@
