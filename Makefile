# Two commands on a fresh machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test test-all check check-fast lock bench postgres docs

demo: $(STAMP)
	$(BIN)/xal run pipelines/quickstart.yaml

# Tests without Ray run on all cores at once; those with Ray, one by one, because Ray takes all cores.
test: check
	$(BIN)/python -m pytest -n logical -m "not ray and not slow and not gpu"
	$(BIN)/python -m pytest -m "ray and not slow and not gpu"

test-all: test
	$(BIN)/python -m pytest -m "slow or gpu"

check-fast: check  # for a contributor: no Ray, nothing that takes seconds
	$(BIN)/python -m pytest -q -n logical -m "not ray and not slow and not gpu and not long"

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python benchmarks/topk.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/ebano.py
	$(BIN)/python benchmarks/partition_shap.py
	$(BIN)/python benchmarks/retrieval.py --work runs/retrieval
	$(BIN)/python benchmarks/interactive.py

docs: $(STAMP)
	$(BIN)/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

postgres:  # installs PostgreSQL on Debian without starting it; the tests start and stop their own server
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
		mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; }

lock: .venv/bin/uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		pyproject.toml --extra all --extra use --extra minilm --extra timm --extra transformers --extra efficientnet-lite --group dev -o requirements.lock

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

# Byte code is compiled once, here: where it cannot be written later, each process would compile torch and Ray again.
$(STAMP): .venv/bin/uv requirements.lock pyproject.toml
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@
