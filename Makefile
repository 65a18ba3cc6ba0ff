# make demo: the tour.  make test: the fast suite.  PYTHON=... chooses the interpreter (3.11 or newer).
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin

.PHONY: venv demo test test-slow test-gpu lint clean

venv: .venv/.stamp

.venv/.stamp: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Ergodica needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable . --group test
	touch $@

.venv/.stamp-dev: .venv/.stamp
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

demo: venv
	$(BIN)/python examples/demo.py -o demo-output

test: venv
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: venv
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not gpu"

test-gpu: venv
	$(BIN)/python -m pytest -m gpu

lint: .venv/.stamp-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv build dist demo-output .hypothesis .mypy_cache .pytest_cache .ruff_cache
