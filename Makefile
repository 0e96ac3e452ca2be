# Every target makes what it needs; a fresh machine needs Python 3.11+ and make.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(shell $(p) -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,13))' 2>/dev/null && echo $(p))))
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
UV := $(BIN)/uv

.PHONY: demo test lint protos reference consul kustomize images bench lock clean

demo: $(VENV)/.installed-run
	@$(BIN)/python -m facet.demo

# How the tests share out is said in tests/lanes.py; 0: one after the other, in one process.
TEST_PROCESSES ?= 2

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint

protos: $(VENV)/.installed-dev
	$(BIN)/python protos/generate.py

reference: $(VENV)/.installed-dev
	$(BIN)/facet settings --markdown > docs/configuration.md

consul:
	.ci/tools/build.sh

kustomize:
	.ci/tools/kustomize.sh

# Options of `build`, such as --build-arg or --network, can be given in IMAGE_OPTIONS.
CONTAINER_ENGINE ?= $(firstword $(foreach e,podman docker,$(if $(shell command -v $(e)),$(e))))
IMAGES ?= gateway preprocessing scheduler aggregation inference inference-gpu training
IMAGE_VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Podman's own format has no place for a HEALTHCHECK.
IMAGE_FORMAT := $(if $(findstring podman,$(firstword $(CONTAINER_ENGINE))),--format docker)

images:
	@test -n "$(CONTAINER_ENGINE)" || { echo "Images are built by podman or docker: install one, or name another in CONTAINER_ENGINE." >&2; exit 1; }
	@set -e; for name in $(IMAGES); do \
	  test -f docker/$$name.Dockerfile || { echo "There is no docker/$$name.Dockerfile." >&2; exit 1; }; \
	  $(CONTAINER_ENGINE) build $(IMAGE_FORMAT) $(IMAGE_OPTIONS) --build-arg VERSION=$(IMAGE_VERSION) \
	    --file docker/$$name.Dockerfile --tag facet-$$name:$(IMAGE_VERSION) .; \
	done
	@for name in $(IMAGES); do \
	  bytes=$$($(CONTAINER_ENGINE) image inspect --format '{{.Size}}' facet-$$name:$(IMAGE_VERSION)); \
	  printf '%-22s %5d MB\n' facet-$$name:$(IMAGE_VERSION) $$((bytes / 1000000)); \
	done

BENCHMARKS := chain latency ensemble small scheduling faults startup peers rollout training \
  tracing model
# Hosts are namespaces, which root alone can make.
BENCHMARKS += $(if $(filter 0,$(shell id -u)),hosts)

bench: $(VENV)/.installed-dev
	@mkdir -p .facet/bench
	@set -e; for name in $(BENCHMARKS); do \
	  $(BIN)/python -m benchmarks.$$name --json .facet/bench/$$name.json; \
	done

lock: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.11 --upgrade --no-emit-index-url \
	  --no-header --no-annotate --extra dev pyproject.toml -o constraints.txt
	sed -i '1i # Exact versions of everything that the project installs; renewed by `make lock`.' constraints.txt

clean:
	rm -rf $(VENV) .facet build dist

$(UV):
	@test -n "$(PYTHON)" || { echo "Facet needs Python 3.11, 3.12 or 3.13 on the PATH." >&2; exit 1; }
	@echo "Making the virtual environment with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.installed-run: $(UV) pyproject.toml constraints.txt
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/.installed-dev: $(UV) pyproject.toml constraints.txt
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed-run
