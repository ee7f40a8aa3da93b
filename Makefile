# All targets set up .venv by themselves. They need only make and Python 3.11 or newer.
PYTHON ?= python3
CORES ?= all
BIN := .venv/bin

# With this variable, every process would compile all packages again and take three times as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: check help run slurm paper package verify compare test lint bench lock clean

help: ## List all targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

run: .venv/installed ## Run the workflow with config.yaml on all cores (ARGS="--configfile presets/..." adds arguments)
	$(BIN)/snakemake --cores $(CORES) $(ARGS)

slurm: .venv/slurm ## Run the workflow on a Slurm cluster (SITE=mycluster.yaml; see docs/cluster.md)
	@case "$(SITE)" in *.yaml) test -f "$(SITE)" || \
		{ echo "SITE: there is no file $(SITE); write it with your account and partition, as in docs/cluster.md"; exit 1; };; \
	esac
	$(BIN)/snakemake --workflow-profile profiles/slurm $(if $(SITE),--profile "$(SITE)") $(ARGS)

paper: .venv/installed ## Pack the last run and all files needed to repeat it into papers/NAME (NAME=mine)
	@test -n "$(NAME)" || { echo "NAME is missing; for example, make paper NAME=mine packs the last run into papers/mine"; exit 1; }
	$(BIN)/python tools/paper.py pack "papers/$(NAME)"

package: .venv/installed ## Write the components of the last run for others into packages/NAME (NAME=mine, LICENSE=CC-BY-4.0)
	@test -n "$(NAME)" || { echo "NAME is missing; for example, make package NAME=mine writes packages/mine"; exit 1; }
	$(BIN)/python tools/package.py "packages/$(NAME)" $(if $(LICENSE),--license "$(LICENSE)")

verify: .venv/installed ## Repeat a run in the folder rerun and compare (RUN=papers/mine/run.json, DATA=folder of images)
	@test -n "$(RUN)" || { echo "RUN is missing; for example: make verify RUN=results/write_lock/run.json"; exit 1; }
	$(BIN)/python tools/paper.py verify "$(RUN)" $(if $(DATA),--data "$(DATA)") --cores $(CORES) $(ARGS)

compare: .venv/installed ## Show two runs side by side in comparisons/NAME (FIRST=old/folder SECOND=. NAME=mine)
	@test -n "$(FIRST)" -a -n "$(SECOND)" -a -n "$(NAME)" || { echo "FIRST, SECOND or NAME is missing; for example: make compare FIRST=papers/mine SECOND=. NAME=years"; exit 1; }
	$(BIN)/python tools/compare_runs.py "$(FIRST)" "$(SECOND)" --into "comparisons/$(NAME)"

# The checks run at the same time as the tests, and print their findings at the end. The target fails if either fails.
# With `make lint test`, the checks run before the tests, and not again.
CHECKS = $(if $(filter lint,$(MAKECMDGOALS)),true,$(MAKE) --no-print-directory lint)
test: .venv/installed ## Run all checks, and all tests except the long ones
	@found=$$(mktemp); { $(CHECKS) >$$found 2>&1; code=$$?; echo; cat $$found; rm $$found; exit $$code; } & \
	$(BIN)/pytest --numprocesses logical --dist loadfile --no-loadscope-reorder $(ARGS); tests=$$?; \
	wait $$! && exit $$tests

lint: .venv/installed ## Check style, types and the rules of the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/mypy workflow/scripts tools benchmarks
	$(BIN)/snakemake --lint

bench: .venv/installed ## Compare time and memory with nilearn's example (ARGS="--sizes 300x20 --archive DIR ...")
	$(BIN)/python benchmarks/compare_example.py $(ARGS)

LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
lock: .venv/installed ## Update all lock files from pyproject.toml
	$(LOCK) --group pyproject.toml:test --output-file requirements.lock pyproject.toml
	$(LOCK) --group pyproject.toml:slurm --no-deps --output-file requirements-slurm.lock
	$(LOCK) --group pyproject.toml:nilearn --output-file benchmarks/nilearn.lock
	$(LOCK) --group pyproject.toml:robustica --output-file benchmarks/robustica.lock

clean: ## Remove the environment and all results, but keep downloaded images, packages/, papers/ and comparisons/
	rm -rf .venv .snakemake results/*/ results/archive.json logs benchmarks/*.tsv

# Snakemake does not quote the path of Python when it starts a script, and fails with a traceback without a cache folder.
check:
	@case "$$PWD" in *[[:space:]]*) \
		echo "The path of this folder has a space, which Snakemake cannot handle: $$PWD; move or rename the folder"; exit 1;; \
	esac
	@cache="$${XDG_CACHE_HOME:-$$HOME/.cache}"; mkdir -p "$$cache" 2>/dev/null && test -w "$$cache" || \
		{ echo "Snakemake needs a cache folder, but $$cache is not writable; name another one: make $(MAKECMDGOALS) XDG_CACHE_HOME=/tmp/cache"; exit 1; }

# uv installs the lock in seconds instead of a minute. Its own version is pinned and hashed, too. Byte code of all
# packages and of this workflow is compiled here, because each process would compile it again where
# PYTHONDONTWRITEBYTECODE is set.
# If pip does not work, its installation was interrupted, and venv would not repeat it. So .venv is made anew.
.venv/installed: requirements.lock requirements-uv.lock | check
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, but $(PYTHON) is $$($(PYTHON) --version); try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $$($(BIN)/pip --version >/dev/null 2>&1 || echo --clear) .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.lock
	VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes --requirement requirements.lock
	$(BIN)/python -m compileall -q workflow/scripts
	@touch $@

# Dependencies of the plugin are in requirements.lock.
.venv/slurm: requirements-slurm.lock .venv/installed
	VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/uv pip install --quiet --compile-bytecode --no-deps --require-hashes --requirement requirements-slurm.lock
	@touch $@
