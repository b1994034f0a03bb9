# make demo: set up and watch the arm plan.  make test: set up and test.  make check: style, types, imports.  make setup: only set up.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# More arguments for pip, such as an index that has PyTorch's CPU builds, which spare several GB of CUDA packages on a machine without
# a GPU: make demo PIP_ARGS="--extra-index-url ..."
PIP_ARGS ?=
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint configs/constraints.txt $(PIP_ARGS)
TEST_ARGS ?=

export MUJOCO_GL ?= egl
export LP_NUM_THREADS ?= 0

.PHONY: demo setup test check clean system system-dev

demo: $(VENV)/.runtime
	@$(BIN)/robo-dream plan --config configs/plan/demo.yaml

setup: $(VENV)/.dev

test: $(VENV)/.dev
	@$(BIN)/python -m pytest $(TEST_ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis

# Stamps: each is older than nothing it depends on, so an unchanged tree installs nothing again.
$(VENV)/.runtime: pyproject.toml configs/constraints.txt | system
	@echo "Installing robo_dream into $(VENV) (some minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime | system-dev
	@echo "Installing the development tools into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

# Debian's packages, only those that are missing; nothing here on another system. The last is pyrealsense2's.
system: LIBRARIES := libEGL.so.1=libegl1 libGL.so.1=libgl1
system-dev: LIBRARIES := libusb-1.0.so.0=libusb-1.0-0
system system-dev:
	@missing=(); \
	if [ "$$(uname)" = Linux ]; then \
	  known="$$(/sbin/ldconfig -p)"; \
	  for library in $(LIBRARIES); do grep -qF "$${library%=*} " <<< "$$known" || missing+=("$${library#*=}"); done; \
	  test -x $(BIN)/python || $(PYTHON) -c 'import ensurepip' 2> /dev/null || missing+=(python3-venv); \
	fi; \
	if [ "$${#missing[@]}" -eq 0 ]; then \
	  :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	  echo "Installing $${missing[*]} ..."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" > /dev/null; \
	else \
	  echo "Missing system packages. Install them and run make again: sudo apt-get install $${missing[*]}" >&2; exit 1; \
	fi
