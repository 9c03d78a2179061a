# Two commands for a newcomer: `make demo` and `make test`. Both make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# else every command that a test starts compiles the package again, and every worker the tests
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint evidence sample-data clean

demo: $(VENV)/.installed
	$(BIN)/fedmed demo work/demo

test: $(VENV)/.installed-dev lint
	$(BIN)/pytest -n 2 -m "not slow"
	$(BIN)/pytest -n 2 -m "slow or hypothesis" --hypothesis-profile=thorough

check: $(VENV)/.installed-dev lint
	$(BIN)/pytest -n 2 -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

evidence: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/evidence.py

sample-data: $(VENV)/.installed
	$(BIN)/python sample_data/make_sample_data.py

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) work
