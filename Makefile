# `make run` runs a config to its figures; `make test` tests everything. Both first set up .venv, once.
#
#     make run                                    the embedded default
#     make run CONFIG=config/beauty-small.yaml    another config
#     make run CORES=4                            with at most four cores
#     make test TESTERS=4                         with four processes, two cores each at times

CONFIG ?= config/config.yaml
CORES ?= all
TESTERS ?= 2
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
READY := $(VENV)/.ready
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: run test coverage lint docs setup clean help
.DEFAULT_GOAL := help

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile
	@echo '    make coverage    the same tests one after the other, and which lines they reach'
	@echo '    make lint    style checks of code and workflow'
	@echo '    make docs    the documentation as a site: site/index.html'
	@echo '    make clean   remove .venv and site (results stay)'

run: $(READY)
	@snakemake --cores $(CORES) --configfile $(CONFIG)
	@specbeam show $(CONFIG)

test: $(READY)
	@pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

coverage: $(READY)
	@pytest --cov --cov-report=term:skip-covered

lint: $(READY)
	@ruff check .
	@ruff format --check .
	@snakefmt --check Snakefile workflow
	@snakemake --lint

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 mkdocs build

setup: $(READY)

# A new pyproject.toml means new pins. The stamp is written last, so that an interrupted set-up starts again.
$(READY): pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	    { echo 'specbeam needs Python 3.11: install it, or name it: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { \
	    echo 'This Python has no venv module: installing python3-venv.' >&2; \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
	    else echo 'It needs root. Run this, then make again:  sudo apt-get install python3-venv' >&2; exit 1; fi; }
	@echo 'Setting up $(VENV): this takes minutes, once.'
	@"$(PYTHON)" -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs,serve,test]'
	@touch $(READY)

clean:
	rm -rf $(VENV) site
