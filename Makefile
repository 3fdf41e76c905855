# Everything runs in .venv, which is made when it is missing. ARGS are passed on: make demo ARGS=--no-browser
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
INTEGRATIONS := $(patsubst %/pyproject.toml,%,$(wildcard integrations/*/pyproject.toml))
PROJECTS := pyproject.toml $(addsuffix /pyproject.toml,viewer $(INTEGRATIONS))
PROTOC := PATH="$(CURDIR)/.venv-proto/bin:$$PATH" .venv-proto/bin/python -m grpc_tools.protoc -I. --python_out=. --mypy_out=.

.PHONY: demo test check bench soak chaos fuzz proto docs pictures

demo: .venv/.demo
	$(BIN)/streamvis demo $(ARGS)

test: .venv/.test .venv/.chromium .venv-proto/.stamp check
	$(BIN)/pytest $(ARGS)

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.test
	set -e; for file in benchmarks/[!_]*.py; do $(BIN)/python $$file; done

soak: .venv/.test
	$(BIN)/python benchmarks/_soak.py $(ARGS)

chaos: .venv/.test
	STREAMVIS_CHAOS_ROUNDS=$${ROUNDS:-1000} $(BIN)/pytest -x tests/test_chaos.py $(ARGS)

fuzz: .venv/.test
	STREAMVIS_FUZZ_REQUESTS=$${REQUESTS:-100000} $(BIN)/pytest -x tests/test_fuzz.py $(ARGS)

proto: .venv-proto/.stamp
	$(PROTOC) --grpc_python_out=. --mypy_grpc_out=. streamvis/v1/streamvis.proto
	$(PROTOC) streamvis/v1/health.proto streamvis/v1/reflection.proto

docs: .venv/.test
	$(BIN)/pytest tests/test_docs.py $(ARGS)

pictures: .venv/.test .venv/.chromium
	$(BIN)/python docs/pictures.py $(ARGS)

.venv/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "streamvis needs Python 3.11: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/.demo: .venv/.made constraints.txt $(PROJECTS)
	$(PIP) -e '.[demo]' -e ./viewer
	touch $@

# The pinned torch comes first, alone: nothing may then bring another with gigabytes of GPU libraries.
.venv/.test: .venv/.made constraints.txt $(PROJECTS)
	$(PIP) torch
	$(PIP) -e '.[demo,dev]' -e ./viewer $(addprefix -e ./,$(INTEGRATIONS))
	touch .venv/.demo $@

.venv/.chromium: .venv/.made
	command -v chromium >/dev/null || .ci/install-chromium
	touch $@

# The old compiler has wheels for Python 3.11 and 3.12 only; elsewhere the test that needs it is skipped.
.venv-proto/.stamp: codegen-requirements.txt .venv/.made
	$(BIN)/python -m venv .venv-proto
	-.venv-proto/bin/pip install --quiet --disable-pip-version-check --only-binary grpcio-tools -r $<
	touch $@
