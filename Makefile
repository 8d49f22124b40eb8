# A fresh machine: `make demo`, `make test`. Everything is installed into .venv/ of this folder.
PYTHON ?= python3
# pytest's workers: two suit a small machine; `make test WORKERS=8` a large one.
WORKERS ?= 2
SECONDS_EACH ?= 60
PHOTOS ?= deeplab_caffe/zoo/chelsea.jpg deeplab_caffe/zoo/astronaut.jpg
OUT ?= out/demo
SITE ?= out/site
SANITIZED ?= out/sanitized
SANITIZERS ?= address,undefined,float-cast-overflow
SANITIZED_TESTS ?= tests/native tests/ops tests/crf tests/pydensecrf tests/layers tests/inference

VENV := .venv
BIN := $(VENV)/bin
ENV_STAMP := $(VENV)/.env-stamp
BUILD_STAMP := $(VENV)/.build-stamp
CSRC := $(shell find csrc -name '*.cpp' -o -name '*.cu' -o -name '*.h' -o -name '*.cuh')

.PHONY: env build demo test fuzz sanitize lint style types format stubs clean docs docs-pictures docs-table networks sdist wheel

env: $(ENV_STAMP)

$(ENV_STAMP): constraints.txt pyproject.toml tools/requirements.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/requirements.py test lint plot convert > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -q wheel -r $(VENV)/requirements.txt -c constraints.txt
	touch $@

build: $(BUILD_STAMP)

$(BUILD_STAMP): $(ENV_STAMP) setup.py pyproject.toml $(CSRC)
	$(BIN)/python -m pip install --disable-pip-version-check -v --no-build-isolation --no-deps -e . > $(VENV)/build.log 2>&1 \
	  || { tail -n 60 $(VENV)/build.log; exit 1; }
	grep 'deeplab_caffe: ' $(VENV)/build.log
	touch $@

demo: build
	$(BIN)/deeplab-caffe segment $(PHOTOS) --crf --overwrite --out $(OUT)
	@echo "The label maps and the overlays of $(PHOTOS) are in $(abspath $(OUT))"

# Each worker has a thread a core: one that spins while it waits takes the core from the others, for half of the time.
test: build
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n $(WORKERS) $(PYTEST_FLAGS)

# Damaged files for each reader, other ones each time: `make fuzz SECONDS_EACH=600`. What fails goes to tests/fuzz/corpus.
fuzz: build
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS_EACH)

# Tests under AddressSanitizer and UndefinedBehaviorSanitizer, `make sanitize SANITIZED_TESTS=tests/crf` for a few. In a copy:
# the extension that is built here stays as it is. pytest must not capture the reports, which end the run.
sanitize: env
	mkdir -p $(SANITIZED)
	git ls-files -z | xargs -0 cp --parents --preserve=timestamps --update -t $(SANITIZED)
	cd $(SANITIZED) && CXX="g++ -march=native" DEEPLAB_CAFFE_SANITIZE=$(SANITIZERS) DEEPLAB_CAFFE_CUDA=0 \
	  $(abspath $(BIN))/python setup.py build_ext --inplace > build.log
	cd $(SANITIZED) && LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  $(abspath $(BIN))/python -m pytest -q --capture=sys $(SANITIZED_TESTS)

# mypy takes one core for longer than all others together.
lint: build
	$(MAKE) --no-print-directory -j2 --output-sync style types

# The stubs are compared with the built extension.
style: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CSRC)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.stubs --check
	$(BIN)/python -m tools.layers_page --check
	$(BIN)/python -m tools.models_page --check
	$(BIN)/python -m tools.fps_table --check
	$(BIN)/python -m tools.networks --check

types: build
	$(BIN)/mypy

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CSRC)

stubs: build
	$(BIN)/python -m tools.stubs

# The pictures of docs/crf-parameters.md.
docs-pictures: build
	$(BIN)/python -m tools.crf_pictures

docs-table: build
	$(BIN)/python -m tools.golden_table
	$(BIN)/python -m tools.layers_page
	$(BIN)/python -m tools.models_page
	$(BIN)/python -m tools.fps_table

# The folders of prototxt/ that come from tools/networks: DeepLab v2's and those after it.
networks: build
	$(BIN)/python -m tools.networks

# The site: the pages of docs/, the API from the docstrings, the command line. A link that leads nowhere is an error.
docs: build
	$(BIN)/python tools/requirements.py docs > $(VENV)/requirements-docs.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r $(VENV)/requirements-docs.txt -c constraints.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -q -d $(abspath $(SITE))
	@echo "The site is in $(abspath $(SITE))/index.html; for its search: $(BIN)/python -m http.server -d $(SITE)"

# Into dist/: sources, and from these a wheel for each Python that is here, tried in clean environments.
sdist: env
	rm -rf dist build/lib *.egg-info
	$(BIN)/python tools/requirements.py wheel > $(VENV)/requirements-wheel.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r $(VENV)/requirements-wheel.txt -c constraints.txt
	$(BIN)/python -m build --sdist --no-isolation -o dist . > $(VENV)/sdist.log 2>&1 || { tail -n 60 $(VENV)/sdist.log; exit 1; }

wheel: sdist
	$(BIN)/python -m tools.wheels dist
	$(BIN)/python -m tools.check_wheel dist

clean:
	rm -rf build dist out *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis $(BUILD_STAMP) deeplab_caffe/_C*.so
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
