# The two commands of the README do all set-up on a fresh machine:
#   make demo    make test
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo demo-3d test test-slow test-all test-napari coverage bench fuzz lint types check docs wheel clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/singula demo

demo-3d: $(STAMP)
	$(BIN)/singula demo --3d

# One process per core with one thread each: faster than one process whose threads wait.
# Compiled Python files are kept, because child processes import the package many times.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadgroup

# Each feature once, in minutes. test-slow runs the other tests, test-all runs both.
test: $(STAMP)
	$(PYTEST) -m "not slow"

test-slow: $(STAMP)
	$(PYTEST) -m slow

test-all: $(STAMP)
	$(PYTEST)

# The widgets of the plugin for napari, on a display of their own.
test-napari: $(STAMP)
	OMP_NUM_THREADS=1 $(if $(shell command -v xvfb-run),xvfb-run -a -s "-screen 0 1600x1200x24") \
		$(BIN)/python -m pytest -p npe2 -p pytest-qt -p napari tests/napari_plugin

# Lines and branches that no test reaches, on the screen and in build/coverage/index.html.
coverage: $(STAMP)
	$(PYTEST) --cov --cov-report=term-missing --cov-report=html

# Times of the stages around the network as ratios to named peers; docs/benchmarks/. With
# PEER=python, an interpreter that can import biapy, its functions and whole runs are timed as well.
bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/stages.py $(if $(PEER),--peer $(PEER))
	$(BIN)/python benchmarks/program.py $(if $(PEER),--peer $(PEER))

# Ten minutes of damaged files and configurations; docs/internals/security.md.
fuzz: $(STAMP)
	$(BIN)/python benchmarks/fuzz.py --seconds 600

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 src  # Windows: the default encoding is not UTF-8
	$(BIN)/ruff format --check .
	$(BIN)/codespell

# Names that a system lacks are errors, unless `sys.platform` is compared before.
types: $(STAMP)
	$(BIN)/mypy
	$(BIN)/mypy --platform win32
	$(BIN)/mypy --platform darwin

# The site in site/; a broken link or a name without documentation is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --wheel --quiet

check: test lint types

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache
