# The whole life of the project in a few words; each target says what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
PARTICIPANTS ?= 24
DOCKER ?= docker
APPTAINER ?= apptainer
IXI ?= ../ixi

.PHONY: env demo test lint types contracts coverage docs test-docker test-apptainer ixi clean

env: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

# A synthetic dataset with a planted sex effect, from raw scans to the report.
demo: env
	BIN=$(BIN) PARTICIPANTS=$(PARTICIPANTS) examples/demo.sh $(DEMO)

test: env
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

coverage: env
	$(BIN)/python -m pytest --cov --cov-report=term

lint: env contracts types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

# The site in build/site: pages of docs/ and an API reference; a warning is an error.
docs: env
	$(BIN)/mkdocs build --strict

contracts: env
	$(BIN)/lint-imports --config setup.cfg --no-cache

# Both levels on the phantom, in the image: no network, read-only root, any uid.
test-docker: env
	BIN=$(BIN) DOCKER="$(DOCKER)" tests/containers/docker.sh

test-apptainer: env
	BIN=$(BIN) APPTAINER="$(APPTAINER)" tests/containers/apptainer.sh

# 145 real T1w scans (a BIDS folder), unattended; run it again to go on after a stop.
ixi: env
	BIN=$(BIN) examples/ixi.sh $(IXI) ixi

clean:
	rm -rf $(DEMO) build
