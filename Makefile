# Everything from a fresh clone: `make demo`, `make test`. The virtual environment is made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
DATA_ROOT ?= ../shared/data
WORK_DIR ?= pretraining-output

.PHONY: help demo test slow-test faults soak bench lint format settings lock licences lowest audit notebooks backbone docs docs-serve build clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# HASHES=no takes files from an index that the lock does not know, such as PyTorch's CPU index: the same versions, not checked.
HASHES ?= yes
ifeq ($(HASHES),no)
install = $(PIP) install --quiet -c constraints.txt -e '.[$(2)]'
else
locked = $(PIP) install --quiet --require-hashes --no-deps --only-binary :all: -r dependencies/$(1).txt
install = { $(call locked,torch-cpu) 2>/dev/null || true; } && $(call locked,$(1)) && \
	{ ! $(PIP) show torch | grep -q nvidia- || $(call locked,cuda); } && \
	$(PIP) install --quiet --no-deps --no-build-isolation -e . && $(PIP) check
endif

$(READY): pyproject.toml constraints.txt dependencies/demo.txt
	@$(PYTHON) -c 'import sys; sys.exit("astune needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + " (make PYTHON=python3.12)" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@$(call install,demo,plots)
	@touch $@

$(DEV_READY): $(READY) dependencies/dev.txt
	@$(call install,dev,dev)
	@touch $@

demo: $(READY)  ## compare seven methods on the bundled backbone and generated sounds, offline, three minutes
	$(BIN)/astune demo

test: $(DEV_READY) lint  ## what a newcomer runs: types, style, all tests but the slow ones
	$(BIN)/python -m pytest -n auto -m 'not slow'

slow-test: $(DEV_READY)  ## the rest: kills, full-size models, several processes
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

faults: $(DEV_READY)  ## hostile inputs for each reader, a kill, a power cut and a full disk at each change of a file, stops, equal bytes: hours; then docs/reliability.md
	$(BIN)/python -m tests.faults fuzz
	$(BIN)/python -m tests.faults kills
	$(BIN)/python -m tests.faults power
	$(BIN)/python -m tests.faults full-disk
	$(BIN)/python -m tests.faults stops
	$(BIN)/python -m tests.faults determinism
	$(BIN)/python -m tests.faults injection
	$(BIN)/python -m tests.faults soak

soak: $(DEV_READY)  ## half an hour of training and serving with clients of all kinds: memory, descriptors, threads and files stay flat
	$(BIN)/python -m tests.faults soak

bench: $(DEV_READY)  ## what we claim about speed, peers in the same run: an hour on one core, then docs/performance.md
	$(BIN)/python -m benchmarks

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV_READY)  ## put the code into the project's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

settings: $(DEV_READY)  ## write docs/settings.md anew from the fields of TrainConfig
	$(BIN)/python docs/settings.py > docs/settings.md.new && mv docs/settings.md.new docs/settings.md

lock: $(DEV_READY)  ## write the hashes of all versions in constraints.txt to dependencies/
	$(BIN)/python -m dependencies.lock

licences: $(DEV_READY)  ## write docs/licences.md anew from what is installed
	$(BIN)/python -m dependencies.licences > docs/licences.md.new && mv docs/licences.md.new docs/licences.md

lowest: $(DEV_READY)  ## all tests but the slow ones with the lowest versions that pyproject.toml allows: downloads gigabytes
	$(BIN)/python -m dependencies.lowest

audit: $(DEV_READY)  ## known vulnerabilities of the locked versions; needs the index's vulnerability service
	$(BIN)/python -m dependencies.audit

notebooks: $(DEV_READY)  ## run the notebooks of docs and write them with what they show
	$(BIN)/python docs/notebooks.py

docs: $(DEV_READY)  ## build the documentation site; a broken link is an error
	$(BIN)/mkdocs build --strict

docs-serve: $(DEV_READY)  ## show the documentation site at a local address
	$(BIN)/mkdocs serve

build: $(DEV_READY)  ## write the wheel and the source archive of a release to dist/
	$(BIN)/python -m build --no-isolation

backbone: $(DEV_READY)  ## pretrain the bundled backbone: hours; wants espeak-ng, flite and DATA_ROOT with arabic_speech_commands/
	$(BIN)/python -m pretraining --data-root $(DATA_ROOT) --work-dir $(WORK_DIR)

clean:  ## remove the virtual environment and what tools left
	rm -rf $(VENV) .venv-lowest .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-output
