# `make` or `make help` lists the targets. You need make and python3 (3.11 or newer; PYTHON=python3.12 selects another).
#
# Everything is installed into .venv, once. A target installs again only after a change of setup.cfg, pyproject.toml or
# the git tags; until then nothing needs the network.

PYTHON ?= python3
ARGS =
# How many nodes `make cluster` starts.
N = 3
# Number of processes in which tests run side by side (0: in one, which a debugger needs).
WORKERS ?= 2
bin = .venv/bin
sources = chatserver tests bench chaos alembic twisted tools examples
# The version comes from the tags (see pyproject.toml). There are none in a tree without git.
described_by = setup.cfg pyproject.toml constraints.txt $(wildcard .git/refs/tags)

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore
export PIP_NO_INPUT = 1

.DEFAULT_GOAL = help
.PHONY: help run cluster test test-newest check format coverage migrate picture test-web bench bench-plot bench-smoke bench-web chaos wheel deb test-deb image \
    constraints hooks clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# Where `make run` listens unless its ARGS say so: a port for nc and programs, one for telnet, which hides passwords, and
# one for browsers.
doors = $(if $(findstring --listen,$(ARGS))$(findstring --config,$(ARGS))$(CHATSERVER_CONFIG),,\
    --listen tcp:4000:interface=127.0.0.1 --listen telnet:tcp:4023:interface=127.0.0.1 \
    --listen web:tcp:8080:interface=127.0.0.1)

run: .venv/.run  ## start a server from this tree (ARGS="--listen tcp:4000")
	$(bin)/twistd -n --pidfile= chatserver $(ARGS) $(doors)

cluster: .venv/.test  ## start N nodes (3) and a PostgreSQL on loopback, to try them with nc; Ctrl-C ends all
	@exec $(bin)/python -m tools.cluster $(N) $(ARGS)

test: .venv/.test  ## run the tests, on SQLite and on a real PostgreSQL, but for the slow ones, which check runs too (PART=login: those of chatserver/login)
	$(bin)/python -m pytest -n $(WORKERS) $(if $(PART),tests/$(PART)) $(ARGS)

test-web: .venv/.test  ## run all tests of the page: in Node and in Chromium (Debian: chromium, chromium-driver, nodejs); it installs neither
	$(bin)/python -m pytest -n $(WORKERS) -m "" tests/web $(ARGS)

test-newest: .venv/pyvenv.cfg  ## run the quick half of the tests on the newest Python of this machine
	@tools/test-newest $(ARGS)

check: .venv/.dev  ## run everything that a change must pass: format, lint, types, imports, migrations, tests, coverage
	$(bin)/ruff format --check $(sources)
	$(bin)/ruff check $(sources)
	$(bin)/mypy
	$(bin)/lint-imports
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && export CHATSERVER_DATABASE="sqlite:///$$dir/check.db" && \
	    $(bin)/alembic upgrade head && $(bin)/alembic check
	@$(MAKE) --no-print-directory coverage

format: .venv/.dev  ## rewrite the sources in the format that check requires
	$(bin)/ruff check --fix $(sources)
	$(bin)/ruff format $(sources)

# ARGS selects a part of the tests, to which the floor (fail_under) does not apply.
coverage: .venv/.test  ## run all tests, report the branches they miss, and fail below the floor in pyproject.toml
	$(bin)/coverage erase
	$(bin)/coverage run -m pytest -n $(WORKERS) -m "" $(ARGS)
	$(bin)/coverage combine -q
	$(bin)/coverage report $(if $(ARGS),--fail-under=0)

migrate: .venv/.run  ## upgrade the schema of the database named by CHATSERVER_DATABASE
	$(bin)/alembic upgrade head

bench: .venv/.test  ## compare with other chat servers, write bench/RESULTS.md (an hour; QUICK=1: minutes, bench/quick/)
	$(MAKE) -s -C bench
	@tools/test-newest --prepare
	$(bin)/python -m bench.run $(if $(QUICK),--quick) $(ARGS)

picture: .venv/.test  ## make the README's pictures anew: of two terminals, from their transcript, and of the page
	$(bin)/python -m tools.picture
	CHATSERVER_PICTURES=docs/img $(bin)/python -m pytest -q -m "" tests/web/test_looks.py -k picture

bench-plot: .venv/.test  ## measure and draw the README's plot of deliveries against members (ten minutes)
	$(MAKE) -s -C bench
	$(bin)/python -m bench.members $(ARGS)

bench-smoke: .venv/.test  ## compare with the recorded speed of this machine (a minute; RECORD=1 records it)
	$(MAKE) -s -C bench
	$(bin)/python -m bench.smoke $(if $(RECORD),--record)

bench-web: .venv/.test  ## measure the page in Chromium, write docs/performance.md (minutes; beside The Lounge on ngIRCd if they are here)
	$(bin)/python -m bench.web $(ARGS)

chaos: .venv/.test  ## kill, stop and cut a server under load, compare all logs (minutes; KILLS= SEED= DATABASE= MINUTES= NODES=)
	$(bin)/python -m chaos.run $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) \
	    $(if $(DATABASE),--database $(DATABASE)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(NODES),--nodes $(NODES)) $(ARGS)

wheel: .venv/.test  ## build the wheel of this commit in dist/, the same bytes wherever it is built
	@tools/wheel

deb: .venv/.test  ## build a Debian package for this machine's Debian in dist/
	@tools/deb

test-deb: .venv/.test  ## install that package beside the real system, serve, upgrade, remove (root, or user namespaces)
	@tools/test-deb

image:  ## build a container image (BASE=packages: on a base of Debian's packages, where no image can be pulled)
	@tools/image $(BASE)

constraints:  ## take the newest versions of all packages into constraints.txt
	@PYTHON=$(PYTHON) tools/constraints

hooks: .venv/.dev  ## install git hooks that check each commit (see .pre-commit-config.yaml)
	$(bin)/python -m pip install -q pre-commit
	$(bin)/pre-commit install --hook-type pre-commit --hook-type commit-msg

clean:  ## remove everything that the other targets made, except databases
	rm -rf .venv .venv-newest build dist *.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf .coverage .coverage.* htmlcov twisted/plugins/dropin.cache bench/chatload bench/quick
	find $(sources) -name __pycache__ -prune -exec rm -rf {} +

# Each stamp file also stands for the ones that need fewer packages.

.venv/.run: .venv/pyvenv.cfg $(described_by)
	$(bin)/python -m pip install -q -c constraints.txt -e .
	touch $@

.venv/.test: .venv/pyvenv.cfg $(described_by)
	$(bin)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch .venv/.run $@

.venv/.dev: .venv/pyvenv.cfg $(described_by)
	$(bin)/python -m pip install -q -c constraints.txt -e '.[test,dev]'
	touch .venv/.run .venv/.test $@

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'chatserver needs Python 3.11 or newer; select one with: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo '$(PYTHON) cannot make virtualenvs; install its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
