# Everything sets itself up: a virtual environment in .venv with the pinned versions, then the job.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= demo-out

.PHONY: demo test lint format native android clean

demo: .venv/installed
	$(BIN)/mnet demo --out $(OUT)

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed build/packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# build/native/mnet-runner, with Debian's cmake, g++ and nlohmann-json3-dev
native: .venv/installed
	cmake -S android_demo/native -B build/native \
	  -DCMAKE_PREFIX_PATH="$$($(BIN)/python -c 'import executorch; print(next(iter(executorch.__path__)))')"
	cmake --build build/native --parallel 2

# The Android demo's code, tested on this machine, and its APK; what lacks a tool is skipped by name
android: .venv/installed
	$(BIN)/python -m android_demo.hosttest.tools
	$(BIN)/python -m pytest tests/vectors tests/android --android -rs -s --swaps 1000 --kills 100 -o timeout=3600
	$(BIN)/python -m android_demo.hosttest.apk

# `mnet` as it is installed, as links: for mypy and for editors, which read no mapping of folders to packages
build/packages: setup.py $(wildcard mnet/*)
	rm -rf $@ && mkdir -p $@/mnet
	for file in mnet/*; do ln -s "$(CURDIR)/$$file" $@/mnet/; done
	for folder in device_models export toolchain; do ln -s "$(CURDIR)/$$folder" $@/mnet/$$folder; done

clean:
	rm -rf .venv build *.egg-info $(OUT)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] < (3, 11) and 'mnet needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e ".[executorch,onnx,tflite,ios,dev]"
	touch $@
