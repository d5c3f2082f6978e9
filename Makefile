# `make help` says what there is. Everything that is made lies below .cache/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first Python on the PATH that is recent enough; by its path, because that of the environment comes first below.
PYTHON := $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$name"; break; }; done)
BIN := .cache/venv/bin
LAB := $(PYTHON) tests/lab/lab
SCENARIO ?= haproxy
HOST ?= gw1

# Whatever the environment of the user's own work says, except where packages come from and which PowerShell is taken.
unexport BASH_ENV PYTHONPATH PYTHONHOME $(filter ANSIBLE_% MOLECULE_% PYTEST_% GIT_%,$(.VARIABLES))
export LC_ALL := C.UTF-8
export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
# Nothing that is installed for the user's own work takes part, and nothing is left there.
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export PYTHONUNBUFFERED := 1
# Whatever the environment says: otherwise each of a thousand starts of Python compiles all that it imports. Not beside
# the sources, where Ansible would take it for an inventory.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/bytecode

.PHONY: help
help: ## This list
	@echo "make TARGET, on Debian 12 or 13, as root:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or later is needed: apt-get install python3" >&2; exit 1; }

.PHONY: environment
environment: python
	@$(PYTHON) tests/setup/setup.py

.PHONY: setup
setup: python ## Debian packages, a virtual environment and the lab's images; all others call it as needed
	@$(PYTHON) tests/setup/setup.py --images

.PHONY: demo
demo: demo-begins setup ## The lab, both sides of the gateways provisioned, and real traffic through them
	@$(LAB) up
	@python tests/demo/demo.py

.PHONY: demo-begins
demo-begins:
	@echo "The demonstration; this takes about 4 minutes on two cores the first time, and 2 again."

.PHONY: test
test: python ## Everything that must pass: lint, unit, molecule, integration
	@$(PYTHON) tests/setup/check.py

.PHONY: lint
lint: environment ## ruff, mypy, yamllint and ansible-lint
	@python tests/setup/check.py lint

.PHONY: unit
unit: environment ## The unit tests
	@pytest -n 2

.PHONY: molecule
molecule: setup ## One scenario in the lab: SCENARIO= a folder of molecule/
	@$(LAB) up
	@molecule test --scenario-name $(SCENARIO)

.PHONY: trials
trials: setup ## What takes longer: every way to lock oneself out (writes docs/lockout-trials.md), testing's HAProxy, PowerShell's self-test
	@$(LAB) up
	@POSTERN_TRIALS_PAGE=1 pytest tests/integration/lockouts
	@POSTERN_HAPROXY=$$($(PYTHON) tests/setup/haproxy.py testing) && export POSTERN_HAPROXY && pytest -n 2 tests/unit/haproxy
	@PYTHONPATH=tests $(PYTHON) -m powershell

.PHONY: bench
bench: setup ## Measure, and compare with a bare configuration
	@$(LAB) up
	@python tests/benchmarks/bench.py

.PHONY: archive
archive: environment ## The archive as Galaxy, antsibull-docs and reuse see it; REPOSITORY= and VERSION= keep one for a release
	@python tests/publish/archive.py --repository "$(REPOSITORY)" --version "$(VERSION)"

.PHONY: sanity
sanity: environment ## ansible-test sanity, as far as it runs without containers
	@python tests/publish/sanity.py

.PHONY: lab
lab: setup ## Bring the lab up; what works already is left alone
	@$(LAB) up

.PHONY: lab-down
lab-down: python ## Take the lab down, and those that the tests have besides
	@$(LAB) down
	@for number in 2 3; do POSTERN_LAB=$$number $(LAB) down >/dev/null; done

.PHONY: shell
shell: python ## A shell in a host of the lab: HOST=gw1
	@$(LAB) shell $(HOST)

.PHONY: clean
clean: lab-down ## Take the lab down and remove .cache/; images stay, for other working copies
	@rm -rf .cache
