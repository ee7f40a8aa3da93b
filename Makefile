# `make run` and `make test` set up everything themselves: Python 3.11 or newer and make are all they need.
PYTHON ?= python3
CORES ?= all
BIN := .venv/bin

# Where this is set, every process would compile every package again, three times slower.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run slurm paper verify test lint bench lock clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

run: .venv/installed ## Run the workflow of config.yaml on all cores (ARGS="--configfile presets/..." for more)
	$(BIN)/snakemake --cores $(CORES) $(ARGS)

slurm: .venv/slurm ## Run it on a Slurm cluster (SITE=mycluster.yaml names account and partition, docs/cluster.md)
	$(BIN)/snakemake --workflow-profile profiles/slurm $(if $(SITE),--profile $(SITE)) $(ARGS)

paper: .venv/installed ## Pack what a paper's rerun needs into the folder papers/NAME (NAME=mine)
	@test -n "$(NAME)" || { echo "make paper NAME=mine packs the last run into papers/mine"; exit 1; }
	$(BIN)/python tools/paper.py pack papers/$(NAME)

verify: .venv/installed ## Repeat a run in the folder rerun and compare (RUN=papers/mine/run.json, DATA=cache of images)
	@test -n "$(RUN)" || { echo "make verify RUN=results/write_lock/run.json repeats that run and compares"; exit 1; }
	$(BIN)/python tools/paper.py verify $(RUN) $(if $(DATA),--data $(DATA)) --cores $(CORES) $(ARGS)

test: lint ## Run lint and tests
	$(BIN)/pytest --numprocesses logical --dist loadfile $(ARGS)

lint: .venv/installed ## Check style, types and the workflow's own rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/mypy workflow/scripts tools
	$(BIN)/snakemake --lint

bench: .venv/installed ## Compare speed and memory with nilearn's example (ARGS="--sizes 300x20 --archive DIR ...")
	$(BIN)/python benchmarks/compare_example.py $(ARGS)

LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
lock: .venv/installed ## Renew requirements.lock and requirements-slurm.lock from pyproject.toml
	$(LOCK) --group pyproject.toml:test --output-file requirements.lock pyproject.toml
	$(LOCK) --group pyproject.toml:slurm --no-deps --output-file requirements-slurm.lock

clean: ## Remove the environment and all results, but no downloaded image
	rm -rf .venv .snakemake results/*/ logs benchmarks/*.tsv

# uv installs the lock in seconds where pip takes a minute; it is pinned and hashed like everything else.
.venv/installed: requirements.lock requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version); try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --require-hashes --requirement requirements.lock
	@touch $@

# What the plugin needs besides is in requirements.lock.
.venv/slurm: requirements-slurm.lock .venv/installed
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --require-hashes --requirement requirements-slurm.lock
	@touch $@
