# make demo        set everything up and serve the demo page on http://localhost:8000
# make demo-once   the same set-up, one question in a headless Chromium, the answer on the terminal
# make test        set everything up, then lint and the whole test suite
# make lint kernels wheel bench clean
#
# Slow steps leave a stamp in build/stamps and run again only when what they depend on changes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMPS := build/stamps
PORT ?= 8000

PACKAGE := $(shell find oxillama_web -name '*.py' -o -name py.typed)
KERNELS := $(wildcard kernels_c/*.c kernels_c/*.h) kernels_c/build.py
SITE := $(PACKAGE) $(KERNELS) $(shell find web tools -type f -not -name '*.pyc') \
	build_wasm.sh package-lock.json pyproject.toml

.PHONY: demo demo-once test lint kernels wheel bench clean

demo: $(STAMPS)/site model
	$(PYTHON) tools/serve.py --port $(PORT)

demo-once: $(STAMPS)/site $(STAMPS)/chromium model
	$(PYTHON) tools/demo_once.py

test: lint $(STAMPS)/native $(STAMPS)/site $(STAMPS)/chromium $(STAMPS)/node
	$(PYTHON) -m pytest -q

lint: $(STAMPS)/venv $(STAMPS)/node
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run -Werror kernels_c/*.c kernels_c/*.h
	npm run --silent check

kernels: $(STAMPS)/native

wheel: $(STAMPS)/site

bench: $(STAMPS)/native $(STAMPS)/site $(STAMPS)/chromium
	bench/setup.sh
	$(PYTHON) -m bench

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache oxillama_web/kernels

.PHONY: model
model: $(STAMPS)/venv
	@$(PYTHON) -m oxillama_web fetch smollm2-135m-instruct >/dev/null

$(STAMPS)/tools: tools/check_tools.sh
	@mkdir -p $(STAMPS)
	@tools/check_tools.sh
	@touch $@

$(STAMPS)/venv: pyproject.toml hatch_build.py | $(STAMPS)/tools
	@[ -x $(PYTHON) ] || $$(tools/check_tools.sh --python) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade pip
	OXILLAMA_KERNELS_BUILD=skip $(PYTHON) -m pip install --quiet --editable '.[dev]'
	@touch $@

$(STAMPS)/native: $(STAMPS)/venv $(KERNELS)
	$(PYTHON) kernels_c/build.py native
	@touch $@

$(STAMPS)/node: package.json package-lock.json | $(STAMPS)/tools
	npm ci --no-fund --no-audit --loglevel=error
	@touch $@

$(STAMPS)/site: $(STAMPS)/venv $(STAMPS)/node $(SITE)
	./build_wasm.sh
	@touch $@

$(STAMPS)/chromium: tools/install_chromium.sh | $(STAMPS)/tools
	tools/install_chromium.sh
	@touch $@
