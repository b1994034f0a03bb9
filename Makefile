# make demo: set up and watch the arm plan.  make test: set up and test.  make check: style, types, imports.  make docs: the pages, in site/.
# make gpu-check: what a GPU makes of planning and training, without network.  make test-lerobot: the policy, inside LeRobot.
# make tables: the tables of README and docs from docs/results.  make setup: only set up; make setup-all: with every extra that a test uses.
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
# What the tests of other people's worlds, of the replay page, of exports and of MJX need beside the development tools; metaworld and openpi-client,
# which declare an older MuJoCo and NumPy, stand apart, and vizdoom, whose pygame-ce would overwrite Push-T's pygame.
TESTED_EXTRAS := dev,docs,gym,ogbench,metaworld,pusht,car-racing,cma,mjx,rerun,serve,ray,s3,s3-tests,words,page-tests
TEST_ARGS ?=
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest

export MUJOCO_GL ?= egl
export LP_NUM_THREADS ?= 0

.PHONY: demo setup setup-all test test-lerobot check docs tables gpu-check clean system system-dev

demo: $(VENV)/.runtime
	@$(BIN)/robo-dream plan --config configs/plan/demo.yaml

setup: $(VENV)/.dev

setup-all: $(VENV)/.all

# Tests that keep real time run after the others, alone: beside them they would be late; those of the guard in a process of their own. A part without a test (exit code 5) is no failure.
test: $(VENV)/.dev
	@several=0; alone=0; guard=0; \
	$(PYTEST) -m "not realtime and not slow and not gpu" -n $(WORKERS) --dist loadfile $(TEST_ARGS) || several=$$?; \
	$(PYTEST) -m "realtime and not slow and not gpu" --ignore tests/unit/safety $(TEST_ARGS) || alone=$$?; \
	$(PYTEST) -m "realtime and not slow and not gpu" $(TEST_ARGS) tests/unit/safety || guard=$$?; \
	if [ $$guard -ne 0 ] && [ $$guard -ne 5 ]; then alone=$$guard; fi; \
	if [ $$several -eq 5 ]; then exit $$alone; elif [ $$several -ne 0 ] || [ $$alone -eq 5 ]; then exit $$several; else exit $$alone; fi

# By hand, with the interpreter of an environment that has lerobot 0.4.4, which docs/guides/so101-lerobot.md makes.
LEROBOT_PYTHON ?= /tmp/lerobot_env/bin/python
test-lerobot:
	@$(LEROBOT_PYTHON) -m pytest -c /dev/null --rootdir . -p no:cacheprovider plugins/lerobot/tests $(TEST_ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

tables: $(VENV)/.runtime
	@$(BIN)/python benchmarks/tables.py

# Installs nothing: it runs with the environment of `make setup`, or where there is none with PYTHON. GPU_CHECK="--dry --out FILE" needs no GPU.
GPU_CHECK ?=
gpu-check:
	@MUJOCO_GL=off PYTHONPATH=. $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu_check.py $(GPU_CHECK)

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .ruff_cache .hypothesis

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

$(VENV)/.docs: $(VENV)/.runtime
	@echo "Installing what builds the pages into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[docs]'
	@touch $@

$(VENV)/.all: $(VENV)/.dev
	@echo "Installing the extras that tests use into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[$(TESTED_EXTRAS)]'
	@$(PIP_INSTALL) --no-deps metaworld openpi-client vizdoom
	@touch $@ $(VENV)/.docs

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
