# Every target makes what it needs in .venv, with the versions of constraints.txt.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

.PHONY: demo test lint check clean

demo: $(READY)  ## write a synthetic video and run the whole way from it to MP4 and CSV
	$(VENV)/bin/python -m examples.synthetic_demo demo-output

test: $(READY)  ## run the test suite
	$(VENV)/bin/python -m pytest

lint: $(READY)  ## what a change has to pass besides the tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --strict

check: lint test

clean:
	rm -rf $(VENV) demo-output .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@
