# Each target sets itself up first, in $(VENV), and only when something changed. It needs Python 3.11 or later
# with its headers, g++ (for the electron density model) and pip's package index. Examples:
#   make test ARGS="-x -k listener"
#   make demo PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
JOBS ?= 3

BIN := $(VENV)/bin
# Named after the interpreter's version, so that another PYTHON gets a new environment.
ENVIRONMENT := $(VENV)/made-by-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
INSTALLED := $(VENV)/installed

.PHONY: help demo test fuzz chaos bench docs validate soak lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo   a cluster, a fake telescope and one observation on this machine, about a minute"
	@echo "make test   the test suite"
	@echo "make fuzz   100000 damaged inputs for every parser, about an hour; goes on where it was interrupted"
	@echo "make chaos  100 processes killed during observations, and what came of it; about ten minutes"
	@echo "make bench  the figures that the README quotes, into benchmarks/results.json"
	@echo "make validate  are the numbers right? docs/validation.md; ARGS=--short: two minutes; ARGS=sky: that section anew"
	@echo "make docs   the documentation, into docs/_build/html"
	@echo "make soak   1000 observations in a row: nothing may grow; half an hour"
	@echo "make lint   style, types, import layers and bandit's look at security"
	@echo "make clean  removes what the others made"
	@echo "Options: ARGS=... for the program, JOBS=3 for tests at once, PYTHON=python3.12, VENV=.venv-3.12"

demo: $(INSTALLED)
	$(BIN)/darc demo $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal tests/unit tests/fuzz tests/integration $(ARGS)
	$(BIN)/python -m pytest tests/system $(ARGS)

fuzz: $(INSTALLED)
	nice -n 15 $(BIN)/python -W ignore -m tests.fuzz.run $(ARGS)

chaos: $(INSTALLED)
	nice $(BIN)/python -m darc.simulation.chaos $(ARGS)

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.run $(ARGS)

docs: $(INSTALLED)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -q -d docs/_build/doctrees docs docs/_build/html $(ARGS)
	@echo "docs/_build/html/index.html"

soak: $(INSTALLED)
	nice $(BIN)/python -m benchmarks.soak $(ARGS)

validate: $(INSTALLED)
	$(BIN)/python -m validation.run $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive darc
	$(BIN)/python -m pip --disable-pip-version-check check
	@if command -v shellcheck >/dev/null; then shellcheck bin/* .ci/run packaging/try-wheel; \
	else echo "shellcheck is not installed: the shell scripts were not checked"; fi

clean:
	rm -rf $(VENV) build dist *.egg-info demo-output fuzz-output chaos-output
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call require,TEST,MESSAGE): end with the message where the shell command TEST fails.
define require
	@$(1) || { echo "$(strip $(2))" >&2; exit 1; }
endef

$(ENVIRONMENT):
	$(call require,command -v $(PYTHON) >/dev/null, \
	  No $(PYTHON) here: install Python 3.11 or later or name it: make PYTHON=/path/to/python3)
	$(call require,$(PYTHON) -c 'import sys; sys.exit(sys.hexversion < 0x030B0000)', \
	  $(PYTHON) is older than Python 3.11: name a newer one: make PYTHON=/path/to/python3)
	$(call require,$(PYTHON) -c 'import ensurepip; import venv' 2>/dev/null, \
	  $(PYTHON) cannot make virtual environments: on Debian or Ubuntu apt-get install python3-venv)
	$(call require,test -f "$$($(PYTHON) -c 'import sysconfig as s; print(s.get_path("include"))')/Python.h", \
	  $(PYTHON) has no Python.h to compile with: on Debian or Ubuntu apt-get install python3-dev)
	$(call require,command -v $(CXX) >/dev/null, \
	  No C++ compiler $(CXX): on Debian or Ubuntu apt-get install g++)
	@echo "Setting up $(VENV): a minute or two the first time"
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(INSTALLED): $(ENVIRONMENT) pyproject.toml setup.py $(wildcard bin/*)
	@# an old pip complains about packages of others that have no pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@# a new pip shows setuptools' warning about folders named like the package in a box of stars
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[ymw16,demo,test]'
	@touch $@
