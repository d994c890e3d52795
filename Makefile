# tfar: `make train` and `make test` need Python 3.11 to 3.13 and nothing else; `make help` lists the rest.
# Every path is relative, so that a checkout may lie in a folder with spaces in its name.

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PIP_INSTALL := -m pip --disable-pip-version-check --no-input install --quiet --no-compile
# mypy refuses a folder that is missing or has no Python file yet.
TYPED := $(foreach folder,tfar pipelines export benchmarks,$(if $(wildcard $(folder)/*.py),$(folder)))
# Own parts of a model, and what mypy has to refuse.
TYPED += tests/core/test_protocols.py
# The example of a layer with state.
EXAMPLE = awk '/^```python$$/ {on = 1; next} /^```$$/ {on = 0} on' docs/guides/own_layer.md

# TensorFlow's own lines of information and warning; set it to 0 to see them.
TF_CPP_MIN_LOG_LEVEL ?= 2
export TF_CPP_MIN_LOG_LEVEL

.DEFAULT_GOAL := help
.PHONY: help venv train test test-large check format bench gpu-check lock clean

help:  ## list the targets
	@echo "tfar: deep autoregressive density models. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: ARGS=\"...\" is handed to the program that runs; WORKERS=$(WORKERS) test processes;"
	@echo "PYTHON=$(PYTHON) makes .venv (Python 3.11 to 3.13; after a change of it: make clean)."

# One environment serves training, tests and checks. The stamp is written last, so that an interrupted
# installation is taken up again by the next call.
venv: $(STAMP)  ## create .venv and install tfar with the versions of requirements.lock

define CHECK_PYTHON
@command -v "$(PYTHON)" > /dev/null || { \
  echo "tfar: '$(PYTHON)' not found; install Python 3.11 to 3.13 or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "tfar: needs Python 3.11 to 3.13, but %s is Python %d.%d; name another: make PYTHON=/path/to/python3.11 ..." % ((sys.executable,) + v))'
@"$(PYTHON)" -c 'import ensurepip, venv' 2> /dev/null || { \
  echo "tfar: $(PYTHON) has no venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
endef

# pip refuses a file whose SHA-256 is not in requirements.lock, and a package that the lock does not name.
# setuptools comes first and from the lock: tfar, and the one dependency that has no wheel, are built with
# it instead of with a copy downloaded for each, which nobody would check. --no-compile and compileall use all cores where pip would use one.
$(STAMP): requirements.lock pyproject.toml
	$(CHECK_PYTHON)
	@start=$$(date +%s); \
	if "$(PY)" -c 'import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null; then \
	  echo "tfar: bringing $(VENV) up to requirements.lock ..."; \
	else \
	  echo "tfar: creating $(VENV) with $$("$(PYTHON)" --version 2>&1): 0.8 GB to download, 3 GB on disk, some 2 minutes ..."; \
	  "$(PYTHON)" -m venv --clear "$(VENV)"; \
	fi && \
	sed -n -e '/^\(setuptools\|wheel\)==/,/[^\\]$$/p' requirements.lock > "$(VENV)/build.lock" && \
	"$(PY)" $(PIP_INSTALL) --require-hashes --no-deps --requirement "$(VENV)/build.lock" && \
	"$(PY)" $(PIP_INSTALL) --require-hashes --no-build-isolation --use-pep517 --requirement requirements.lock && \
	"$(PY)" $(PIP_INSTALL) --no-build-isolation --no-deps --editable . && \
	echo "tfar: packages installed ($$(( $$(date +%s) - start )) s), compiling them ..." && \
	{ "$(PY)" -m compileall -qq -j 0 -x '/tests?/' "$(VENV)/lib" || true; } && \
	touch "$(STAMP)" && \
	echo "tfar: $(VENV) is ready ($$(( $$(date +%s) - start )) s)" || { \
	  echo "tfar: the installation failed (see above); the same command takes it up again" >&2; exit 1; }

train: $(STAMP)  ## train on the digits, evaluate and sample into runs/digits (about 6 minutes on 2 cores, installation included)
	@echo "tfar: python -m pipelines.train $(if $(strip $(ARGS)),$(ARGS),(digits into runs/digits; about 6 minutes on 2 cores, installation included))"
	@start=$$(date +%s); "$(PY)" -m pipelines.train $(ARGS) && \
	echo "tfar: done ($$(( $$(date +%s) - start )) s)"

test: $(STAMP)  ## run the tests, but for the large ones (some 12 minutes on 2 cores; 7 are the aim)
	@echo "tfar: running the tests in $(WORKERS) processes ..."
	@"$(PY)" -m pytest -n $(WORKERS) --dist=loadgroup --no-loadscope-reorder $(ARGS)

test-large: $(STAMP)  ## run the large tests only
	@echo "tfar: running the large tests, one at a time ..."
	@"$(PY)" -m pytest -m large $(ARGS) || { status=$$?; \
	  test $$status -eq 5 || exit $$status; echo "tfar: no large test selected"; }

check: $(STAMP)  ## lint, formatting and types, as CI checks them
	@echo "tfar: ruff check, ruff format --check, mypy"
	@"$(PY)" -m ruff check .
	@"$(PY)" -m ruff format --check .
	@"$(PY)" -m mypy $(TYPED)
	@mkdir -p build && $(EXAMPLE) > build/own_layer.py
	@"$(PY)" -m mypy --check-untyped-defs build/own_layer.py

format: $(STAMP)  ## format the code and mend what ruff can mend
	@"$(PY)" -m ruff check --fix-only .
	@"$(PY)" -m ruff format .

bench: $(STAMP)  ## measure the cost of sampling into runs/bench
	@echo "tfar: python -m benchmarks.sampling, figures into runs/bench/sampling.json"
	@mkdir -p runs/bench
	@"$(PY)" -m benchmarks.sampling --json=runs/bench/sampling.json $(ARGS)

gpu-check: $(STAMP)  ## compare training, sampling and numerics between GPU and CPU
	@"$(PY)" -m benchmarks.gpu_check $(ARGS)

# A fresh environment outside of the checkout. uv reads the hashes of all files of each version from the index, those for
# other machines and Pythons too; no address of an index goes into the file.
lock:  ## remake requirements.lock from the newest versions that pyproject.toml allows, with hashes
	$(CHECK_PYTHON)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	echo "tfar: resolving pyproject.toml in a fresh environment, some 3 minutes ..." && \
	"$(PYTHON)" -m venv "$$folder/venv" && python="$$folder/venv/bin/python" && \
	"$$python" $(PIP_INSTALL) --upgrade setuptools wheel && \
	"$$python" $(PIP_INSTALL) --no-build-isolation --use-pep517 --editable ".[test]" && \
	"$$python" -m pip check && \
	"$$python" -m pip --disable-pip-version-check freeze --all --exclude pip --exclude tfar > "$$folder/freeze" && \
	if grep -v '^[A-Za-z0-9._-]*==[^ ]*$$' "$$folder/freeze"; then \
	  echo "tfar: the lines above are no 'name==version'; requirements.lock is left as it was" >&2; exit 1; fi && \
	"$$python" $(PIP_INSTALL) uv && \
	sed -n '/^#/p' requirements.lock > "$$folder/lock" && \
	"$$python" -m uv --quiet pip compile --no-deps --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  "$$folder/freeze" >> "$$folder/lock" && \
	test "$$(grep -c == "$$folder/lock")" -eq "$$(grep -c == "$$folder/freeze")" && \
	cp "$$folder/lock" requirements.lock && \
	echo "tfar: requirements.lock pins $$(grep -c == requirements.lock) packages"

clean:  ## remove .venv, build outputs and caches (runs/ stays)
	rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
