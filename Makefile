# Everything sets itself up: `make demo` and `make test` need Python 3.11+ and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools
BUN := $(TOOLS)/node_modules/.bin/bun
export PATH := $(CURDIR)/$(TOOLS)/bin:$(CURDIR)/$(TOOLS)/node_modules/.bin:$(PATH)

# Many tests wait rather than compute, so one process more than there are processors keeps these busy. More than that save
# some time, and show races that few other machines have.
# `make test WORKERS=0` runs the tests in one process, in their order.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal
# What `make lowest`, `make distro` and `make newest` run: the promises, and the commands, which stand on click and on what
# the interpreter does at its end.
TESTS ?= tests/unit tests/contract tests/system/test_main_job.py tests/integration/test_cli_*.py

.PHONY: help demo crash crash-hosts model year saves vm test test-postgres quick nightly lowest distro newest lint types imports check lock docs pictures packaging site bench bench-postgres sync-client format clean bun vscode editor
help:           ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  \1\t/p' $(MAKEFILE_LIST)

# Two steps, as pip takes no editable install with hashes: all that flowd needs and is worked on with, in the versions
# that were tested, and then flowd itself.
$(VENV)/.ready: pyproject.toml constraints-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("flowd needs Python 3.11 or newer; this is %d.%d. Set PYTHON=/path/to/python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement constraints-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@mkdir -p $(TOOLS)/bin && ln -sf ../../$(BIN)/uv $(TOOLS)/bin/uv
	@touch $@

# Bun runs the bun steps of the demo and the tests; vscode-jsonrpc is a client that others wrote; Taplo reads our JSON
# Schemas as editors do. One npm command for all, because npm removes what it is not told of.
bun:
	@if [ -x $(BUN) ] && [ -d $(TOOLS)/node_modules/vscode-jsonrpc ] && [ -d $(TOOLS)/node_modules/@taplo/cli ]; then :; \
	elif command -v npm >/dev/null 2>&1; then \
	  echo "installing Bun, vscode-jsonrpc and Taplo from the npm registry into $(TOOLS)/"; \
	  npm install --silent --no-audit --no-fund --no-save --prefix $(TOOLS) bun vscode-jsonrpc @taplo/cli >/dev/null 2>&1 \
	    || echo "NOTICE: npm could not install them; what needs them is left out and says so"; \
	else echo "NOTICE: npm is not here; what needs Bun, vscode-jsonrpc or Taplo is left out and says so"; fi

# What the extension for VS Code is built and tested with, in the versions of its lock.
VSCODE := clients/vscode
$(VSCODE)/node_modules/.package-lock.json: $(VSCODE)/package-lock.json
	@if command -v npm >/dev/null 2>&1; then \
	  echo "installing what $(VSCODE) is built with from the npm registry"; \
	  cd $(VSCODE) && { npm ci --silent && touch node_modules/.package-lock.json \
	    || echo "NOTICE: npm could not install it; the extension for VS Code is left out, and the tests say so"; }; \
	else echo "NOTICE: npm is not here; the extension for VS Code is left out, and the tests say so"; fi

vscode: $(VENV)/.ready $(VSCODE)/node_modules/.package-lock.json ## Check, test and pack the extension for VS Code
	$(BIN)/python -m pytest -q tests/system/test_vscode.py
	@echo "built $(VSCODE)/build/flowd.vsix"

editor: vscode  ## Try the extension in a real VS Code, which is installed from the npm registry and partly compiled, in Chromium
	PYTHONPATH=tests $(BIN)/python tests/vscode_rig.py
	VSCODE=1 $(BIN)/python -m pytest -q tests/editor

demo: $(VENV)/.ready bun ## Start flowd in a scratch workspace and take an event through it
	@$(BIN)/flowd demo

test: $(VENV)/.ready bun $(VSCODE)/node_modules/.package-lock.json ## Run all tests
	$(PYTEST)

test-postgres: $(VENV)/.ready bun ## Run the system tests with the store in a PostgreSQL database, and what takes long with one
	TEST_STORE=postgres $(PYTEST) tests/system tests/integration/test_postgres_*.py

quick: $(VENV)/.ready ## Run the unit and contract tests alone, for whoever works on it
	$(PYTEST) tests/unit tests/contract

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

lowest: $(VENV)/.ready ## Run unit and contract tests, commands and main job with the lowest versions declared
	@.ci/elsewhere lowest --numprocesses $(WORKERS) --dist worksteal $(TESTS)

distro: $(VENV)/.ready bun ## The same with the distribution's Python, as an ordinary user
	@.ci/elsewhere distro --numprocesses $(WORKERS) --dist worksteal $(TESTS)

newest: $(VENV)/.ready ## The same with the newest Python that uv has or may download
	@.ci/elsewhere newest --numprocesses $(WORKERS) --dist worksteal $(TESTS)

nightly:        ## All that takes longer: check, every test on all of the above, crash, crash-hosts, model, year, saves, vm, editor; all of it, whatever fails
	EXECUTE_DAEMONS=1 $(MAKE) --keep-going check test-postgres lowest distro newest crash crash-hosts model year saves vm editor TESTS=tests

crash: $(VENV)/.ready ## Kill the daemon and the keeper CRASHES times (500) and count what that cost
	PYTHONPATH=.:clients/python:tests $(BIN)/python -m crash.harness $(or $(CRASHES),500)

crash-hosts: $(VENV)/.ready ## Let CRASHES faults (500) befall three hosts of a store, and its server, from SEED or a random one
	PYTHONPATH=.:clients/python:tests $(BIN)/python -m crash_hosts.harness $(or $(CRASHES),500) $(if $(SEED),--seed $(SEED))

model: $(VENV)/.ready ## Play SEQUENCES random sequences (5000) on the engine and on a model of it, from SEED or a random one
	PYTHONPATH=tests $(BIN)/python -m model.search $(or $(SEQUENCES),5000) $(SEED)
	PYTHONPATH=.:clients/python:tests $(BIN)/python -m model.play $(or $(SEQUENCES),5000) $(SEED)

year: $(VENV)/.ready ## Simulate a year of 200 schedules with clocks that are set, and compare it with a model, from SEED or a random one
	PYTHONPATH=.:clients/python:tests $(BIN)/python -m year.harness $(SEED)

saves: $(VENV)/.ready ## Save files as people's programs do, SAVES times (300) from SEED, with daemons killed meanwhile, and watch
	SAVES=$(or $(SAVES),300) $(if $(SEED),SEED=$(SEED)) $(BIN)/python -m pytest -q --timeout 3600 tests/system/test_saves.py

vm: $(VENV)/.ready ## Boot a Debian in qemu, and try flowd under its systemd (VM="-k reload" for some of it)
	@PYTHONPATH=.:clients/python:tests $(BIN)/python -m vm $(VM)

docs: $(VENV)/.ready ## Write the reference tables of the documentation
	PYTHONPATH=. $(BIN)/python docs/reference.py

site: $(VENV)/.ready ## Build the documentation as a web site in build/site; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site is ready: $(BIN)/python -m http.server --directory build/site"

pictures: $(VENV)/.ready ## Take the pictures of the documentation anew, by the tests that show them
	PICTURES=1 $(BIN)/python -m pytest -q tests/browser/test_story.py tests/system/test_top_picture.py

packaging: $(VENV)/.ready ## Write the man page and completions into DIR (build/packaging) for a distribution's package
	PYTHONPATH=. $(BIN)/python docs/packaging.py $(or $(DIR),build/packaging)

bench: $(VENV)/.ready ## Measure flowd beside its rivals, and beside another revision (AGAINST=REV)
	@$(BIN)/python -m bench $(if $(AGAINST),--against $(AGAINST)) $(BENCH)

bench-postgres: $(VENV)/.ready ## Measure flowd with its store in PostgreSQL, beside what pgbench inserts on the same server
	@PYTHONPATH=tests $(BIN)/python -m bench --postgres $(if $(AGAINST),--against $(AGAINST)) $(BENCH)

# For developers there is all, tools included; for users what flowd itself needs, in the same versions.
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command 'make lock' pyproject.toml
lock: $(VENV)/.ready ## Write the newest versions of everything to constraints.txt and constraints-dev.txt
	$(LOCK) --group dev --output-file constraints-dev.txt
	$(LOCK) --constraint constraints-dev.txt --output-file constraints.txt

format: $(VENV)/.ready
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

clean:          ## Remove what make made
	rm -rf $(VENV) $(TOOLS) .demo dist .pytest_cache .mypy_cache .ruff_cache $(VSCODE)/node_modules $(VSCODE)/dist $(VSCODE)/build
