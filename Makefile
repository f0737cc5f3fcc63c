# One runner. Every target makes what it needs: `make test` on a bare machine installs the environment first.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2# processes that share the tests; 0 runs them in one
IMAGES ?= 1000000 10000000# sizes of the stores that bench-query writes
PHOTOS ?=# a folder of photos for bench-embed; without it scenes are drawn
ARGS ?=# more words for pytest: make test ARGS='-k policy -m "not slow"'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types bench bench-embed bench-apply bench-duplicates bench-ledger bench-query bench-demo \
	demo-encoder clean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/.ready ## The whole road on 1,000 drawn scenes, from a local bucket to manifests, without a network
	$(BIN)/clipsieve demo

test: .venv/.ready ## Run every test, the slow ones too
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: .venv/.ready ## Check style, formatting, the walls between the rooms, and SQL
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql

types: .venv/.ready ## Check types, strictly
	$(BIN)/mypy

bench: .venv/.ready ## Take the figures again that the documentation states
	$(BIN)/python -m bench

bench-embed: .venv/.ready ## Measure pass 1 against its floor and the loop that users write, and what its Python costs
	$(BIN)/python -m bench.embed $(if $(PHOTOS),--photos $(PHOTOS))
	$(BIN)/python -m bench.embed --latency 50 $(if $(PHOTOS),--photos $(PHOTOS))
	$(BIN)/python -m bench.embed --feed --rounds 2

bench-apply: .venv/.ready ## Measure copies per second, and the memory of a plan of a million images
	$(BIN)/python -m bench.apply

bench-query: .venv/.ready ## Measure pass 2 on synthetic stores of 1 and 10 million images (15 GB of temporary files)
	$(BIN)/python -m bench.query --images $(IMAGES)

bench-duplicates: .venv/.ready ## Measure finding and asking duplicates beside FAISS's flat search (3 GB of temporary files)
	$(BIN)/python -m bench.duplicates

bench-ledger: .venv/.ready ## Measure what a store of 10 million done objects takes to say what is left
	$(BIN)/python -m bench.ledger

bench-demo: .venv/.ready ## Measure how right the demo's encoder is
	$(BIN)/python -m bench.demo_encoder --against bf16

demo-encoder: .venv/.ready ## Train the demo's encoder again, in under 30 minutes on 2 cores
	$(BIN)/python -m embed.demo.train --out embed/demo/encoder

clean: ## Remove caches, builds and the demo's store; the environment .venv stays
	rm -rf build dist clipsieve-demo .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The stamp is written last: an interrupted installation is no environment.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "clipsieve needs Python 3.11 or later, and '$(PYTHON)' is not: name one with 'make PYTHON=python3.12 ...'." >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embed,detect,plot,dev]'
	@touch $@
