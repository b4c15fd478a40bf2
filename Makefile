# `make demo` shows the result, `make test` proves it. Both need only python3 (3.11 to 3.13) with pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SETUP := pyproject.toml constraints.txt
# One thread a process: more are slower on small tensors, and results must not depend on the machine's cores.
export OMP_NUM_THREADS := 1

.PHONY: demo test lint wheel clean
demo: $(VENV)/installed
	@mkdir -p out
	$(BIN)/liveact render examples/audio.wav --ref examples/face.png -o out/demo.mp4 --seed 1 --force

test: lint
	nice -n 5 $(BIN)/python -m pytest -n 2

lint: $(VENV)/developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(VENV)/developer
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf $(VENV) out build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch goes first and pinned, so that nothing else can pull in another build of it.
$(VENV)/installed: $(SETUP) | $(BIN)/python
	$(PIP) install -c constraints.txt torch
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/developer: $(VENV)/installed $(SETUP)
	$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $@
