.PHONY: install demo test lint bench lock

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

install: $(VENV)/.installed $(VENV)/.kernels

# Numba keeps compiled functions by the file they are in, not by the files they call.
$(VENV)/.kernels: $(wildcard features/*.py features/*/*.py models/*.py) | $(VENV)/.installed
	find features models -name '*.nb[ic]' -delete
	touch $@

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/closedwon demo

test: lint
	$(BIN)/pytest -q -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/truth.py

# Exact versions, no registry host. Needs `pip install uv` somewhere.
lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --upgrade -o requirements.lock
