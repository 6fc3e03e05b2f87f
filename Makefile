.PHONY: install demo test lint kernels bench lock

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Without byte code on disk every process would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE
# As the command line has it; two test processes with two threads each would wait for each other.
export OPENBLAS_NUM_THREADS := 1

install: $(VENV)/.installed $(VENV)/.kernels

# Numba keeps compiled functions by the file they are in, not by the files they call.
$(VENV)/.kernels: $(wildcard features/*.py features/*/*.py models/*.py) | $(VENV)/.installed
	find features models -name '*.nb[ic]' -delete
	touch $@

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/python -m compileall -qq -j 2 $(VENV)/lib || true # pip would use one core
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/closedwon demo

# Slow files come first (tests/conftest.py), so xdist must not put those with many tests first.
test: install
	$(MAKE) --jobs 2 --output-sync lint kernels
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder

kernels: install
	$(BIN)/python tests/compile_kernels.py

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
