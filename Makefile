# Every target makes its own environment: .venv, from requirements.lock, with the newest Python >= 3.11 found (or PYTHON=...).
SHELL := /bin/sh
PY    := .venv/bin/python
STAMP := .venv/.installed

NETD_DATA_DIR ?= $(CURDIR)/.netd
PYTEST_ARGS   ?=
TEST_PROCESSES ?= 3
SOAK_ROUNDS   ?= 50
UV_VERSION    := 0.13.8

.DEFAULT_GOAL := help
.PHONY: help run demo test test-compiled check format bench bench-radius bench-polling bench-devices bench-reports bench-ztp bench-boot fuzz soak compiled wheel wheel-compiled lock venv clean

help:  ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP)  ## start netd on its embedded database, data in ./.netd (or NETD_DATA_DIR)
	@NETD_DATA_DIR="$(NETD_DATA_DIR)" exec .venv/bin/netd serve

demo: $(STAMP)  ## start netd with a simulated provider, data in ./.netd-demo (DEMO_ARGS="--port 8080")
	@exec .venv/bin/netd demo --data-dir "$(CURDIR)/.netd-demo" $(DEMO_ARGS)

test: $(STAMP)  ## run the tests, by file in TEST_PROCESSES processes (PYTEST_ARGS="-k radius -x" narrows)
	$(PY) -m pytest -q -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --session-timeout=1800 $(PYTEST_ARGS)

test-compiled: compiled  ## the same tests on the compiled engine
	NETD_COMPILED=require $(PY) -m pytest -q -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --session-timeout=1800 $(PYTEST_ARGS)

check: $(STAMP)  ## formatting, lint, types, layers
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: $(STAMP)  ## format the code and sort its imports
	.venv/bin/ruff check --fix --exit-zero --quiet .
	.venv/bin/ruff format .

bench: $(STAMP)  ## measure speed and memory, and print the numbers
	$(PY) tests/bench/run.py $(BENCH_ARGS)

bench-radius: $(STAMP)  ## measure netd beside FreeRADIUS on one PostgreSQL, and with a million subscribers (BENCH_ARGS=--quick: a look)
	$(PY) -m tests.bench.against $(BENCH_ARGS)

bench-polling: $(STAMP)  ## devices polled at their pace into PostgreSQL
	$(PY) -m tests.bench.polling $(BENCH_ARGS)

bench-devices: $(STAMP)  ## measure 500 SSH backups at once, and a walk beside snmpbulkwalk (needs snmp and snmpd)
	$(PY) -m tests.bench.devices $(BENCH_ARGS)

bench-reports: $(STAMP)  ## reports of 5,000 devices with 50 interfaces over a month: time, memory, how long the loop is kept
	$(PY) -m tests.bench.reports $(BENCH_ARGS)

bench-ztp: $(STAMP)  ## measure DHCP exchanges beside Kea with memfile and PostgreSQL, in network namespaces (root; BENCH_ARGS="--rounds 1": a look)
	$(PY) -m tests.bench.ztp $(BENCH_ARGS)

bench-boot: $(STAMP)  ## measure boot files by TFTP beside tftpd-hpa and by HTTP beside nginx, and log-ins while twenty devices fetch (root; BENCH_ARGS="--small --rounds 1": a look)
	$(PY) -m tests.bench.boot $(BENCH_ARGS)

fuzz: $(STAMP)  ## throw arbitrary bytes at every codec
	$(PY) tests/fuzz/run.py $(FUZZ_ARGS)

soak: $(STAMP)  ## the long rounds: 20,000 sessions changed at 20 NAS, faults under load again and again, DHCP clients behind two daemons, 10,000 users moved from FreeRADIUS, the API by its description, 200,000 rows as CSV and XLSX, an hour of fuzzing (SOAK_ROUNDS, FAULT_SEED, DHCP_SEED, FUZZ_SECONDS)
	$(PY) -m tests.bench.fanout --rounds 5
	KILL_ROUNDS=$(SOAK_ROUNDS) FAULT_ROUNDS=$(SOAK_ROUNDS) $(PY) -m pytest -q -rP --timeout=7200 tests/e2e/test_crash.py tests/e2e/test_faults.py tests/ztp/test_boots.py
	DHCP_ROUNDS=$(SOAK_ROUNDS) $(PY) -m pytest -q -rP --timeout=7200 tests/ztp/test_soak.py
	FREERADIUS_USERS=10000 $(PY) -m pytest -q -s --timeout=7200 tests/e2e/test_freeradius.py
	CONTRACT_EXAMPLES=200 CONTRACT_PHASES=examples,coverage,fuzzing CONTRACT_SECONDS=3600 CONTRACT_SEED=$${CONTRACT_SEED:-1} $(PY) -m pytest -q tests/web/test_contract.py
	$(PY) -m tests.bench.tables
	FUZZ_SECONDS=$${FUZZ_SECONDS:-3600} $(PY) tests/fuzz/run.py

compiled: $(STAMP)  ## compile the hot path into build/compiled, where netd finds it (needs a C compiler and Python's headers)
	@$(PY) -c 'import sys; from netd import compiled; sys.exit(not compiled.Finder(compiled.CHECKOUT).status().active)' || $(PY) hatch_build.py build/compiled

wheel-compiled: $(STAMP)  ## build dist/netd-*-linux_*.whl with the hot path compiled, for this Python and platform
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 .venv/bin/hatchling build -t wheel

wheel: $(STAMP)  ## build dist/netd-*.whl and the source archive
	.venv/bin/hatchling build

lock: $(STAMP)  ## resolve pyproject.toml into requirements.lock anew
	$(PY) -m venv build/lock
	build/lock/bin/pip install --quiet uv==$(UV_VERSION)
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras --group dev \
	    --custom-compile-command "make lock" pyproject.toml -o requirements.lock

venv: $(STAMP)  ## only make the environment

clean:  ## remove everything that make has made, but not .netd and .netd-demo
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment needs the standard library's venv and ensurepip, which some distributions package apart (Debian: python3-venv).
$(STAMP): requirements.lock pyproject.toml
	@set -eu; \
	usable() { "$$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	if [ ! -x $(PY) ] || ! usable $(PY); then \
	    python=; \
	    for candidate in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3; do \
	        if usable "$$candidate"; then python=$$candidate; break; fi; \
	        if [ -n "$(PYTHON)" ]; then echo "PYTHON=$(PYTHON) is not a Python >= 3.11 with venv and ensurepip" >&2; exit 1; fi; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "netd needs Python >= 3.11 with its venv and ensurepip modules (Debian: apt-get install python3 python3-venv);" >&2; \
	        echo "none of python3.14 … python3.11 and python3 in PATH is one. Name it with: make PYTHON=/path/to/python3" >&2; \
	        exit 1; \
	    fi; \
	    echo "Making .venv with $$($$python --version) (once, about a minute)"; \
	    "$$python" -m venv --clear .venv; \
	fi; \
	$(PY) -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements.lock; \
	$(PY) -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e .; \
	touch $(STAMP)
