# make setup | run | test | check | fix | bench | soak; also hooks, lock, clean.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.setup
PATHS := daemon sync store tray cloud tests benchmarks
DIR ?=
SEEDS ?= 1,2,3,4
SOAK_SECONDS ?= 600

.PHONY: setup run test check fix bench soak hooks lock clean

setup: $(STAMP)

# Hash-pinned; our own package is then linked in place with the pinned setuptools, so nothing unpinned is ever fetched.
$(STAMP): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found on PATH" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup
	$(BIN)/fst tryout $(if $(DIR),"$(DIR)")

# What Debian has for the tests is installed before their clocks run. Where a shell forbids bytecode, each worker would compile all anew.
test: export PYTHONDONTWRITEBYTECODE =
test: setup
	$(BIN)/python -m tests.lab.services
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/house

fix: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m benchmarks

soak: setup
	SOAK_SECONDS=$(SOAK_SECONDS) SEEDS=$(SEEDS) $(BIN)/python -m pytest -s -n 0 --timeout 7200 tests/simulation
	HYPOTHESIS_PROFILE=soak SOAK_SECONDS=$(SOAK_SECONDS) SEEDS=$(SEEDS) FLIPS=2000 DAMAGE=1 \
		$(BIN)/python -m pytest -n 2 --dist worksteal --timeout 3600 tests/property tests/crash tests/soak tests/e2e/test_damage.py
	LIES=all $(BIN)/python -m pytest -n 2 --dist loadfile --timeout 600 tests/hostile
	SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -n 2 --timeout 7200 tests/unit/test_cloud_openapi.py
	SAVES=40 STORM=30000 LONG=1 LARGE=1 $(BIN)/python -m pytest -s --timeout 3600 tests/e2e/test_editors.py tests/e2e/test_watch_truth.py tests/e2e/test_hard_files.py
	SOAK=1 STOP_SECONDS=40 $(BIN)/python -m pytest --timeout 3600 tests/e2e/test_doubt.py tests/e2e/test_bad_network.py tests/e2e/test_two_daemons.py
	BIG_TREE=1 KILLS=200 $(BIN)/python -m pytest -s --timeout 14400 tests/e2e/test_two_machines_real.py tests/e2e/test_kill_storm.py

hooks: setup
	$(BIN)/pre-commit install

# After a change of the dependencies in pyproject.toml. No address of a registry may stand in the result (tests/house).
LOCK := $(BIN)/uv pip compile pyproject.toml --extra scale --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" --quiet
lock:
	$(LOCK) --group dev -o requirements-dev.txt
	$(LOCK) -c requirements-dev.txt -o packaging/docker/requirements.txt

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
