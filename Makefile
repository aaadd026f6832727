# ctrlserver: every target makes its environment (.venv) by itself, from constraints.txt, and is quick the second time.
#
#   make            the list of targets
#   make demo       a real daemon, real loads, the answers of its admin port
#   make test       PYTHON=python3.12 chooses another interpreter; TEST_ARGS="-k framing" goes to pytest
#
# Rules: nothing is written outside this folder but temporary files; paths are relative, so a folder name may hold spaces;
# targets run one after another even under -j, for a test or a demo beside a benchmark would falsify its figures.

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo serve test lint bench clean constraints again

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
NEWEST := build/newest
# How many processes: tests/conftest.py. A file's tests run one after another in one of them, files in their usual order.
IN_PROCESSES := -n auto --dist loadfile --no-loadscope-reorder
PIP := -m pip --disable-pip-version-check --quiet

# Lints the live page where npm is there and has it, or gets it. A wide table is scrolled by keyboard, which two rules forbid.
BIOME := npm exec --yes --prefer-offline --package=@biomejs/biome@2.6.8 -- biome
LEFT_OUT := --skip=lint/a11y/noNoninteractiveTabindex --skip=lint/a11y/useSemanticElements

# The stamp holds the folder and the interpreter that the environment was made for. Scripts and the editable install carry
# the folder's absolute path, so a moved folder needs a new environment; so does another PYTHON, when one is asked for.
FOLDER_WAS := $(shell sed -n 1p $(MADE) 2>/dev/null)
PYTHON_WAS := $(shell sed -n 2p $(MADE) 2>/dev/null)
ifneq "$(FOLDER_WAS)" ""
ifneq "$(FOLDER_WAS)" "$(CURDIR)"
FRESH := yes
endif
ifneq "$(origin PYTHON)" "file"
ifneq "$(PYTHON_WAS)" "$(PYTHON)"
FRESH := yes
endif
endif
endif

define check_python
@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	echo "make: $(PYTHON) was not found: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv), or name one: make PYTHON=python3.12" >&2; exit 1; }
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "make: $(PYTHON) is older than Python 3.11, which ctrlserver needs; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	echo "make: $(PYTHON) cannot make environments (no venv or ensurepip): install the Debian package python3-venv (apt-get install python3-venv)" >&2; exit 1; }
endef

help:
	@echo "make demo         a real daemon, real loads, the answers of its admin port"
	@echo "make serve        the daemon in the foreground (SERVE_ARGS='--mode echo')"
	@echo "make test         pytest, ten minutes on two cores; two without real processes (TEST_ARGS=\"-m 'not integration'\")"
	@echo "make lint         ruff and mypy, and biome where npm is there"
	@echo "make bench        side by side with peers (BENCH_ARGS='--quick')"
	@echo "make constraints  constraints.txt anew, from the newest versions that pyproject.toml allows"
	@echo "make clean        everything that was made"

ifeq "$(FRESH)" "yes"
$(MADE): again
endif

$(MADE): pyproject.toml constraints.txt
	$(check_python)
	@echo "making the environment $(VENV) (once)"
	@test -z "$(FRESH)" && $(BIN)/python -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python $(PIP) install -c constraints.txt setuptools
	@$(BIN)/python $(PIP) install -c constraints.txt --no-build-isolation --editable '.[dev]'
	@printf '%s\n%s\n' "$(CURDIR)" "$(PYTHON)" >$@

demo: $(MADE)
	@$(BIN)/python etc/demo.py $(DEMO_ARGS)

serve: $(MADE)
	$(BIN)/twistd -n --pidfile= ctrlserver $(SERVE_ARGS)

test: $(MADE)
	$(BIN)/python -m pytest $(IN_PROCESSES) $(TEST_ARGS)

lint: $(MADE)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	@if ! command -v npm >/dev/null; then echo "the files of the live page are not linted: npm is not there"; \
	elif ! timeout 20 $(BIOME) --version >/dev/null 2>&1; then echo "the files of the live page are not linted: npm does not get biome"; \
	else $(BIOME) lint $(LEFT_OUT) ctrlserver/http/page/static; fi

bench: $(MADE)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

constraints:
	$(check_python)
	@rm -rf $(NEWEST)
	@"$(PYTHON)" -m venv $(NEWEST)
	@$(NEWEST)/bin/python $(PIP) install --upgrade --editable '.[dev]'
	@{ echo "# The tested versions, used by make and CI; made anew by 'make constraints'. The package itself allows ranges."; \
	   $(NEWEST)/bin/python -m pip --disable-pip-version-check freeze --all --exclude-editable --exclude pip; } >$(NEWEST)/constraints.txt
	@! grep -nE '@|://|^-' $(NEWEST)/constraints.txt || { echo "make: those lines are not plain versions" >&2; exit 1; }
	@mv $(NEWEST)/constraints.txt constraints.txt
	@rm -rf $(NEWEST)
	@echo "constraints.txt: $$(grep -c == constraints.txt) versions"

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/build
	rm -f twisted/plugins/dropin.cache twistd.pid twistd.log*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
