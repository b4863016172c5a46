# Two commands for a fresh machine: `make demo` and `make test`. Both do the set-up, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= evals/cases/number_comparison.toml

.PHONY: demo test test-browser lint check format evidence bench clean
.DEFAULT_GOAL := demo

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "naturalist needs Python 3.11 or newer, and $(PYTHON) is not; run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) lacks venv; install it (Debian: apt-get install python3-venv) or set PYTHON" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/naturalist investigate $(DEMO) --seed 1 --fresh-alpha

# By file, so that what the tests of a file share is made once; in the order of the names, which has the longest early.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not browser"

test-browser: $(STAMP)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { echo "make test-browser needs Chromium; install it (Debian: apt-get install chromium)" >&2; exit 1; }
	$(BIN)/python -m pytest -m browser tests/test_browser.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check: lint
	$(BIN)/python -m pytest -q tests/test_layout.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

evidence: $(STAMP)
	$(BIN)/python -m evals.evidence --out evidence

bench: $(STAMP)
	$(BIN)/python -m evals.engine_benchmark

clean:
	rm -rf $(VENV)
