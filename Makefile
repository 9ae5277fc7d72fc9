# make demo        build the demo page and serve it on http://localhost:8000; PORT=8001 chooses another port
# make demo-once   set up the tests' tools, ask one question in a headless Chromium, print the answer
# make test        set everything up, then lint and the whole test suite
#
# make setup       all that the tests need, and no test
# make fuzz        broken files of all kinds for SECONDS=60, which must be refused with clear errors
# make lint        format, lint, types and structure of Python, C and JavaScript
# make kernels     the kernels of this machine, in oxillama_web/kernels/
# make wheel       the browser's wheel in dist/ and the page in build/site/
# make npm         the npm package in build/npm
# make bench       speed beside llama.cpp and wllama; the first run compiles for some minutes
# make clean       removes what was built; keeps downloads, .venv and node_modules
#
# Nothing slow is done twice: the environments leave a stamp in build/stamps, and whatever builds or
# downloads finds out at once whether there is anything to do.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
# Downloads wait for the network, compilers for the processor.
MAKEFLAGS += --jobs=3

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMPS := build/stamps
PORT ?= 8000
SECONDS ?= 60

.PHONY: help demo demo-once test setup fuzz lint kernels wheel npm bench clean
.PHONY: system chromium firefox model test-data

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Nothing that only tests need: neither .venv nor a native compiler.
demo:
	@tools/setup_system.sh demo
	@./build_wasm.sh >/dev/null
	@python=$$(tools/build_python.sh); \
		$$python -m oxillama_web fetch smollm2-135m-instruct >/dev/null; \
		$$python tools/serve.py --port $(PORT)

demo-once: chromium wheel model
	@$(PYTHON) tools/demo_once.py

test: setup lint
	@tools/test.sh $(PYTHON)

setup: chromium firefox kernels wheel test-data $(STAMPS)/arm64

fuzz: $(STAMPS)/venv
	$(PYTHON) tests/fuzz/run.py --seconds $(SECONDS)

lint: $(STAMPS)/venv $(STAMPS)/node
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/clang-format --dry-run -Werror $$(find kernels_c -name "*.[ch]")
	npm run --silent check
	$(PYTHON) tools/check_structure.py

kernels: $(STAMPS)/venv
	$(PYTHON) kernels_c/build.py native

wheel: $(STAMPS)/venv $(STAMPS)/node
	./build_wasm.sh

npm: wheel
	$(PYTHON) tools/make_npm.py

bench: chromium kernels wheel test-data
	PYTHON=$(PYTHON) bench/setup.sh
	$(PYTHON) -m bench

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis test-results
	rm -rf oxillama_web/kernels

system:
	@tools/setup_system.sh build
	@mkdir -p $(STAMPS)

chromium: system
	@tools/setup_system.sh chromium

# one apt-get at a time
firefox: system | chromium
	@tools/setup_system.sh firefox

model: $(STAMPS)/venv
	@$(PYTHON) -m oxillama_web fetch smollm2-135m-instruct >/dev/null

test-data: model
	@$(PYTHON) -m oxillama_web fetch gemma-3-270m >/dev/null
	@$(PYTHON) tools/get_test_wheels.py >/dev/null
	@$(PYTHON) tools/get_pyodide_build.py >/dev/null || true
	@$(PYTHON) tools/get_test_tokenizers.py >/dev/null
	@$(PYTHON) tools/get_test_vocabularies.py >/dev/null

# The kernels have a target of their own.
$(STAMPS)/venv: pyproject.toml tools/constraints.txt | system
	@[ -x $(PYTHON) ] || "$$(tools/setup_system.sh python)" -m venv --clear $(VENV)
	OXILLAMA_KERNELS_BUILD=skip $(PYTHON) -m pip install --quiet --disable-pip-version-check \
		--constraint tools/constraints.txt --editable '.[dev]'
	@touch $@

$(STAMPS)/arm64: tools/get_arm_python.py pyproject.toml | $(STAMPS)/venv
	@$(PYTHON) tools/get_arm_python.py >/dev/null
	@touch $@

$(STAMPS)/node: package.json package-lock.json | system
	npm ci --no-fund --no-audit --no-update-notifier --loglevel=error
	@touch $@
