# make run     start the server here (ARGS="--listen tcp:4000")
# make test    run the tests, on SQLite and on a real Postgres (ARGS="-k resume")
# make check   everything a change must pass: format, lint, types, imports, migrations, tests
# make format  put the sources into the form that check asks for
# make migrate bring the database named by CHATSERVER_DATABASE to the newest schema
# make bench   measure it beside other chat servers, and write bench/RESULTS.md (an hour; QUICK=1: some minutes,
#              and into bench/quick/); make bench-smoke: a minute, is it slower than it was? (RECORD=1 keeps the answer)
# make clean   remove what the others made; databases stay
#
# Needs python3 (3.11 or newer; PYTHON=python3.12 takes another) and make. All is installed in .venv, once: the next
# installation is due when setup.cfg or pyproject.toml changes, and until then nothing needs the network.

PYTHON ?= python3
ARGS =
bin = .venv/bin
sources = chatserver tests bench alembic twisted

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore
export PIP_NO_INPUT = 1

.PHONY: run test check format coverage migrate bench bench-smoke clean
.DELETE_ON_ERROR:

run: .venv/.run
	$(bin)/twistd -n --pidfile= chatserver $(ARGS)

test: .venv/.test
	$(bin)/python -m pytest $(ARGS)

check: .venv/.dev
	$(bin)/ruff format --check $(sources)
	$(bin)/ruff check $(sources)
	$(bin)/mypy
	$(bin)/lint-imports
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && export CHATSERVER_DATABASE="sqlite:///$$dir/check.db" && \
	    $(bin)/alembic upgrade head && $(bin)/alembic check
	$(bin)/python -m pytest $(ARGS)

format: .venv/.dev
	$(bin)/ruff check --fix $(sources)
	$(bin)/ruff format $(sources)

coverage: .venv/.test
	$(bin)/coverage erase
	$(bin)/coverage run -m pytest $(ARGS)
	$(bin)/coverage combine -q
	$(bin)/coverage report

migrate: .venv/.run
	$(bin)/alembic upgrade head

bench: .venv/.test
	$(MAKE) -s -C bench
	$(bin)/python -m bench.run $(if $(QUICK),--quick) $(ARGS)

bench-smoke: .venv/.test
	$(MAKE) -s -C bench
	$(bin)/python -m bench.smoke $(if $(RECORD),--record)

clean:
	rm -rf .venv build dist chatserver.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf .coverage .coverage.* htmlcov twisted/plugins/dropin.cache bench/chatload bench/quick
	find $(sources) -name __pycache__ -prune -exec rm -rf {} +

# Each stamp stands for those with fewer packages too.

.venv/.run: .venv/pyvenv.cfg setup.cfg pyproject.toml
	$(bin)/python -m pip install -q -e .
	touch $@

.venv/.test: .venv/pyvenv.cfg setup.cfg pyproject.toml
	$(bin)/python -m pip install -q -e '.[test]'
	touch .venv/.run $@

.venv/.dev: .venv/pyvenv.cfg setup.cfg pyproject.toml
	$(bin)/python -m pip install -q -e '.[test,dev]'
	touch .venv/.run .venv/.test $@

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'chatserver needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo '$(PYTHON) cannot make virtualenvs. Install its venv module (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
