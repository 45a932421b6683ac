# The two commands of the README do all set-up on a fresh machine:
#   make demo    make test
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo demo-3d test bench lint types check wheel clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/singula demo

demo-3d: $(STAMP)
	$(BIN)/singula demo --3d

# Two processes of one thread each: faster here than one process with threads that wait.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadgroup

# Times of the stages around the network as ratios to named peers; docs/benchmarks.md. With
# PEER=python, an interpreter that can import biapy, its functions and whole runs are timed as well.
bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/stages.py $(if $(PEER),--peer $(PEER))
	$(BIN)/python benchmarks/program.py $(if $(PEER),--peer $(PEER))

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --wheel --quiet

check: test lint types

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
