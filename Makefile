# Everything sets itself up: a virtual environment in .venv with the pinned versions and what the job needs, then the job.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= demo-out
# The tests on two cores: a file goes to one worker, and what files share is made once (tests/once.py)
WORKERS ?= -n 2 --dist loadfile
KOTLIN_FORMAT := $(shell command -v ktlint)
CPP_FORMAT := $(shell clang-format --version 2>/dev/null | grep -q "version 19" && command -v clang-format)

.PHONY: demo check test coverage strangers lint types docs reference format native android ios system wheel pins digests sbom clean

demo: .venv/installed
	$(BIN)/mnet demo --out $(OUT)

# Minutes: style, types of code and tests, and each test that neither trains, exports nor starts a process
check: lint types
	$(BIN)/python -m pytest $(WORKERS) -m "not slow" --durations=15

# What CI runs: all tests
test: .venv/developer build/packages
	$(BIN)/python -m pytest $(WORKERS) --durations=15

# How much of the code all tests reach, as a figure
coverage: .venv/developer build/packages
	$(BIN)/python -m pytest --cov=mnet --cov-report=term:skip-covered

# The models that the project was not made for, served to a phone process on every target; the tests take one target each
strangers: .venv/developer build/packages
	$(BIN)/python -m pytest tests/export/test_strangers.py tests/fleet/test_strangers.py --every-target -v -o timeout=1500

lint: .venv/developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
ifneq ($(CPP_FORMAT),)
	find android_demo/native tests/native \( -name '*.cpp' -o -name '*.h' \) -print0 | xargs -0 $(CPP_FORMAT) --dry-run --Werror
endif
ifneq ($(KOTLIN_FORMAT),)
	$(KOTLIN_FORMAT) "android_demo/**/*.kt"
endif

types: .venv/developer build/packages
	$(BIN)/mypy
	$(BIN)/mypy tests

# The pages of docs/ as a site with search, in build/site/index.html
docs: .venv/docs build/packages
	$(BIN)/python -m tests.docs.site

# What is written from the code: docs/reference/cli.md by Typer, config.md by us; python.md is filled in by `make docs`
reference: .venv/developer
	$(BIN)/python -m typer mnet.toolchain.cli.app utils docs --name mnet --title Commands --output docs/reference/cli.md
	$(BIN)/python -m tests.docs.config_keys

format: .venv/developer
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# As root on Debian: what the tests need besides Python, of the list in packages.debian
system:
	apt-get update
	sed 's/#.*//' packages.debian | xargs apt-get install --yes --no-install-recommends

wheel: .venv/developer
	$(BIN)/python -m build --wheel

# What the image is made of: deploy/requirements.txt, with hashes, of the extras that it has and at the versions of
# constraints.txt; PyTorch's build for CPUs comes from its own index
pins: .venv/developer
	$(BIN)/uv pip compile pyproject.toml --extra postgres --extra s3 --extra hsm --constraint constraints.txt \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate --no-header \
	  $(TORCH) --output-file deploy/requirements.txt
TORCH ?= --torch-backend cpu

# The digest that each image of deploy/ has at its registry now, written next to its tag: needs Docker, look at the difference
digests: .venv/developer
	$(BIN)/python deploy/digests.py

# What the image holds, with versions and hashes (CycloneDX)
sbom: .venv/developer
	mkdir -p dist
	$(BIN)/cyclonedx-py requirements deploy/requirements.txt --pyproject pyproject.toml --output-reproducible -o dist/mnet.cdx.json

# build/native/mnet-runner, with Debian's cmake, g++ and nlohmann-json3-dev
native: .venv/installed
	cmake -S android_demo/native -B build/native \
	  -DCMAKE_PREFIX_PATH="$$($(BIN)/python -c 'import executorch; print(next(iter(executorch.__path__)))')"
	cmake --build build/native --parallel 2

# The Android demo's code, tested on this machine, and its APK; what lacks a tool is skipped by name
android: .venv/developer
	$(BIN)/python -m android_demo.hosttest.tools
	$(BIN)/python -m pytest tests/vectors tests/android --android -rs -s --swaps 1000 --kills 100 -o timeout=3600
	$(BIN)/python -m android_demo.hosttest.apk

# The iOS package, compiled and tested on this machine: fetches Swift from Debian 13 into ~/.cache/mnet-swift, as root
ios: .venv/developer build/packages
	$(BIN)/python -m ios.hosttest.debian
	$(BIN)/python -m pytest tests/ios -rs

# `mnet` as it is installed, as links: for mypy and for editors, which read no mapping of folders to packages
build/packages: setup.py $(wildcard mnet/*)
	rm -rf $@ && mkdir -p $@/mnet
	for file in mnet/*; do ln -s "$(CURDIR)/$$file" $@/mnet/; done
	for folder in device_models export toolchain; do ln -s "$(CURDIR)/$$folder" $@/mnet/$$folder; done

clean:
	rm -rf .venv build dist *.egg-info $(OUT)

# For users: the service, training, and exports for Android
.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e ".[executorch]"
	touch $@

# For work on the project: every target, and the tools of the tests
.venv/developer: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e ".[executorch,onnx,tflite,ios,dev]"
	touch $@ .venv/installed

.venv/docs: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e ".[docs]"
	touch $@

.venv/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] < (3, 11) and 'mnet needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv .venv
