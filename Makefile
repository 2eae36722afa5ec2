# Everything sets itself up: `make demo` and `make test` need Python 3.11+ and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools
BUN := $(TOOLS)/node_modules/.bin/bun
export PATH := $(CURDIR)/$(TOOLS)/bin:$(CURDIR)/$(TOOLS)/node_modules/.bin:$(PATH)

.PHONY: help demo crash model vm test lint types imports check docs bench sync-client format clean bun
help:           ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  \1\t/p' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("flowd needs Python 3.11 or newer; this is %d.%d. Set PYTHON=/path/to/python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@mkdir -p $(TOOLS)/bin && ln -sf ../../$(BIN)/uv $(TOOLS)/bin/uv
	@touch $@

# Bun runs the bun steps of the demo and the tests; vscode-jsonrpc is a client that others wrote. One npm command for
# both, because npm removes what it is not told of.
bun:
	@if [ -x $(BUN) ] && [ -d $(TOOLS)/node_modules/vscode-jsonrpc ]; then :; \
	elif command -v npm >/dev/null 2>&1; then \
	  echo "installing Bun and vscode-jsonrpc from the npm registry into $(TOOLS)/"; \
	  npm install --silent --no-audit --no-fund --no-save --prefix $(TOOLS) bun vscode-jsonrpc >/dev/null 2>&1 \
	    || echo "NOTICE: npm could not install them; what needs them is left out and says so"; \
	else echo "NOTICE: npm is not here; what needs Bun or vscode-jsonrpc is left out and says so"; fi

demo: $(VENV)/.ready bun ## Start flowd in a scratch workspace and take an event through it
	@$(BIN)/flowd demo

crash: $(VENV)/.ready ## Kill the daemon and the keeper CRASHES times (500) and count what that cost
	PYTHONPATH=.:clients/python:tests $(BIN)/python -m crash.harness $(or $(CRASHES),500)

model: $(VENV)/.ready ## Play SEQUENCES random sequences (5000) on the queue and on a model of it, from SEED or a random one
	PYTHONPATH=.:clients/python:tests $(BIN)/python -m model.play $(or $(SEQUENCES),5000) $(SEED)

vm: $(VENV)/.ready ## Boot a Debian in qemu, and try flowd under its systemd (VM="-k reload" for some of it)
	@PYTHONPATH=.:clients/python:tests $(BIN)/python -m vm $(VM)

test: $(VENV)/.ready bun ## Run the tests
	$(BIN)/python -m pytest

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

imports: $(VENV)/.ready
	$(BIN)/lint-imports

check: lint types imports test ## Everything that must be green before a change lands

sync-client: $(VENV)/.ready ## Generate what the client library has twice (CHECK=1 only tells what is out of date)
	$(BIN)/python clients/python/generate.py $(if $(CHECK),--check)

format: $(VENV)/.ready
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

docs: $(VENV)/.ready ## Write the reference tables of the documentation
	PYTHONPATH=. $(BIN)/python docs/reference.py

bench: $(VENV)/.ready ## Measure flowd beside its rivals, and beside another revision (AGAINST=REV)
	@$(BIN)/python -m bench $(if $(AGAINST),--against $(AGAINST)) $(BENCH)

clean:          ## Remove what make made
	rm -rf $(VENV) $(TOOLS) .demo dist .pytest_cache .mypy_cache .ruff_cache
