# `make demo` and `make test` are all a newcomer needs; both install first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo install test test-oldest lint docs package bench bench-audit bench-augmentation bench-peers soak clean

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: install  ## install, run the demonstration study, print where its report is
	$(BIN)/seewhy run demo

install: $(STAMP)  ## make .venv with pinned versions; quick where nothing changed

# The stamp is written last, so that an interrupted installation is repeated.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

test: install  ## run the tests (about 10 minutes on two cores)
	$(BIN)/python -m pytest -m "not soak"

lint: install  ## ruff, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install  ## the documentation as a site in build/site; any warning is an error
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

package:  ## build wheel and sdist in build/dist, check them, run the demo from the wheel
	PYTHON=$(PYTHON) tools/check_package.sh build/dist

# The package is installed into an environment of its own, and with it the oldest versions it allows.
# Old versions warn about each other; the tools of the tests are the newest.
test-oldest:  ## the package and a subset of the tests with the oldest supported versions
	PYTHON=$(PYTHON) tools/check_package.sh build/dist constraints-oldest.txt build/oldest
	build/oldest/bin/python -m pip install --quiet --constraint constraints-oldest.txt \
		pytest pytest-xdist hypothesis
	build/oldest/bin/python -m pytest -W ignore::DeprecationWarning -m "not soak" \
		$$(grep -v '^#' tests/oldest.txt)

bench: install  ## what kept features, maps and the search cost, side by side
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.explain --ours --images 16
	$(BIN)/python -m benchmarks.explain
	$(BIN)/python -m benchmarks.search demo --size 96 --set search.max_layers=1

# Where the stand-in for CIFAR-10.2 and VGG16's weights lie.
SHARED ?= ../shared

bench-audit: install  ## planted shortcuts found, clean data accused, the inference simulated; resumes
	$(BIN)/python -m benchmarks.audit --data $(SHARED)/data --weights $(SHARED)/weights
	$(BIN)/python -m benchmarks.audit_clean --data $(SHARED)/data --weights $(SHARED)/weights
	$(BIN)/python -m benchmarks.audit_inference

bench-augmentation: install  ## regions replaced in fine-tuning: what that brings; resumes
	$(BIN)/python -m benchmarks.augmentation --data $(SHARED)/data --weights $(SHARED)/weights

bench-peers: install  ## seewhy beside fastai, timm, LightlyTrain and AutoGluon, hours; resumes
	$(BIN)/python -m benchmarks.peers --data $(SHARED)/data --figure runs/bench-peers/over_time.png

soak: install  ## the slow checks
	$(BIN)/python -m pytest -m soak -n 0 -s

clean:  ## remove .venv and caches; runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build
