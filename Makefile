# What a person runs. A bare machine needs make and a Python of 3.11 or newer; everything else is set up here.
#   make demo    make test    make test-live    make e2e    make lint    make docs    make setup    make lock    make wheel-test    make clean

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin

# The first Python that really runs, is new enough and can make a virtualenv (a name on the PATH may be a stub;
# Debian's python3 has no ensurepip before `apt-get install python3-venv`). Name another: make PYTHON=/path/to/python3.12
FITS := import sys, ensurepip, venv, fcntl; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	if $$each -c '$(FITS)' >/dev/null 2>&1; then echo $$each; break; fi; done)

# Never the folder one stands in: `config` and `rollguard` here are sources, not what is installed.
export PYTHONSAFEPATH := 1

.DEFAULT_GOAL := help
.PHONY: help setup test test-live e2e lint format docs demo lock wheel-test clean

help:
	@sed -n '1,2p' Makefile | sed 's/^# *//'

setup:
ifeq ($(strip $(PYTHON)),)
	@echo "setup: no Python of 3.11 or newer with venv and ensurepip found (looked for python3, python3.11 to python3.14, python)." >&2
	@echo "setup: install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12 setup" >&2
	@exit 1
else
	@if ! $(PYTHON) -c '$(FITS)'; then echo "setup: $(PYTHON) is older than 3.11, or lacks venv or ensurepip." >&2; exit 1; fi
	@$(PYTHON) .ci/setup_venv.py $(if $(filter-out file,$(origin PYTHON)),--this-python)
endif

test: setup
	@$(BIN)/pytest
	@.ci/lint imports

# On a real Kafka and a real PostgreSQL, the long ones too; prints what each measured.
test-live: setup
	@$(BIN)/pytest tests/live tests/service tests/responders tests/deploy tests/docs -m "live_long or not live_long"

# The closed loop: the example shop, Kafka, Alertmanager and a worker. About ten minutes.
e2e: setup
	@$(BIN)/pytest tests/live/test_shop.py -m live_long

lint: setup
	@.ci/lint

format: setup
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

# The documentation as pages to open: build/site/index.html. A link that leads nowhere, or a page in no menu, fails it: not with `--quiet`, which keeps
# the warnings from being counted. The variable keeps an advertisement of another generator quiet.
docs: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict 2>build/docs.log || { cat build/docs.log >&2; exit 1; }
	@echo "docs: build/site/index.html"

demo: setup
	@$(BIN)/rollguard demo

# The extras that are locked and installed; `bench` brings pandas, and is installed by whoever measures.
LOCKED := files postgres apprise docs dev
# What the container has (Dockerfile), at the same versions.
IMAGE := files postgres apprise

# One lock for Python 3.11 and newer on every platform, without the address of any index.
lock: setup
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 $(LOCKED:%=--extra %) --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 $(IMAGE:%=--extra %) --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --constraint requirements.lock pyproject.toml deploy/container/build.in \
		--output-file deploy/container/requirements.lock
	@$(MAKE) --no-print-directory setup

wheel-test: setup
	@.ci/wheel_test

clean:
	rm -rf $(VENV) .venv.lock build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
