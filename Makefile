# make demo: install, fetch the model, run the quickstart.   make test: every check.   make check: the fast ones, without kills and many draws.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PACKAGE := pyproject.toml constraints.txt

# files go to the workers whole, in the order of tests/conftest.py
WORKERS := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types fast fuzz docs bench-gpu clean

help:
	@grep '^# make' Makefile | cut -c3-

# torch first and by its pinned version: a range alone would choose the CUDA build of several gigabytes on some machines.
$(VENV)/.installed: $(PACKAGE)
	@echo "installing evoprompt into $(VENV), once; this takes about three minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) --editable '.[dev,docs]'
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/evoprompt models --fetch smollm2-135m
	@$(BIN)/evoprompt run configs/quickstart.yaml

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

fast: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not (real_model or statistical or slow)" $(WORKERS)

check: lint types fast

# the real model by itself: its runs have both cores to themselves
test: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not real_model" $(WORKERS) --durations 25
	$(BIN)/python -m pytest -m real_model

# the property tests on examples that no run has tried yet, ten times as many
fuzz: $(VENV)/.installed-dev
	HYPOTHESIS_PROFILE=fuzz OMP_NUM_THREADS=1 $(BIN)/python -m pytest $$(grep -rl "^from hypothesis" tests --include "test_*.py") \
	  -m "not (real_model or statistical or slow)" $(WORKERS)

# make docs: the documentation as a site, in site/; a broken link fails.
$(VENV)/.installed-docs: $(VENV)/.installed
	@$(PIP) --editable '.[docs]'
	@touch $@

docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# make bench-gpu MODEL=...: this search beside the published ones, on this machine's GPU; also TASKS, BUDGET, ARGS.
BENCH := .venv-bench
TASKS ?= sst2 agnews trec subj
BUDGET ?= 100000
$(BENCH)/.installed: $(PACKAGE) experiments/benchmarks/search/peers.txt
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable . -r experiments/benchmarks/search/peers.txt
	@touch $@

bench-gpu: $(BENCH)/.installed
	@test -n "$(MODEL)" || { echo "give MODEL=, a model of the hub or a folder"; exit 2; }
	@$(BENCH)/bin/python -m experiments.benchmarks.search.gpu --model "$(MODEL)" --tasks $(TASKS) --budget $(BUDGET) $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
