# make demo   the whole way of the data on a toy corpus: 3 to 6 minutes after installation
# make test   all tests            make lint   ruff and mypy            make clean   remove what was made

SHELL := /bin/bash
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt
DEMO_OUT ?= demo
PYTEST_ARGS ?=
export OMP_NUM_THREADS ?= 2

# The first interpreter that really runs and is 3.11 or 3.12 (a shim on the PATH may not run).
PYTHON ?= $(shell for python in python3.11 python3.12 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 \
	&& { echo "$$python"; break; }; done)

.PHONY: help demo test lint format clean
help:
	@sed -n 's/^# //p' Makefile | sed -n '1,2p'

# torch, numpy and cython come first: fairseq-fixed and fastBPE are built against them, without build isolation.
.venv/.ready: setup.py constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "error: Python 3.11 or 3.12 is needed; install one or run 'make PYTHON=/path/to/python3.11'" >&2; exit 1; fi
	@if ! command -v c++ >/dev/null && ! command -v g++ >/dev/null; then echo "error: a C++ compiler is needed (Debian, Ubuntu: apt install g++)" >&2; exit 1; fi
	@if [ ! -x $(PY) ]; then echo "[0/3] virtual environment .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv; fi
	@echo "[1/3] torch, torchaudio, torchvision and build tools (about 2 minutes, 5 GB)"
	@$(PIP) setuptools wheel cython numpy torch torchaudio torchvision
	@echo "[2/3] fairseq and fastBPE (2 to 4 minutes where they are compiled)"
	@$(PIP) --no-build-isolation fairseq-fixed fastBPE
	@echo "[3/3] mm-fairseq with its other requirements and developer tools (about 1 minute)"
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@
	@echo "ready: .venv/bin/mm-fairseq doctor tells what works"

.PHONY: .venv
.venv: .venv/.ready

demo: .venv/.ready
	@bash examples/demo/run.sh $(DEMO_OUT)

test: .venv/.ready
	@$(PY) -m pytest -q $(PYTEST_ARGS)

lint: .venv/.ready
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: .venv/.ready
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis $(DEMO_OUT)
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
