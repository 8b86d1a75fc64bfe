# fhirbridge: `make help` lists what can be done. Everything needs only Python 3.11 or newer and the package registry;
# `make acceptance` needs Java 17, Maven and curl as well.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# An older or half-installed python3 is passed over.
PYTHON ?= $(shell for one in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$one" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$one" && break; done)
PIP := -m pip --disable-pip-version-check --quiet
# Patients of the demo; of the clinic that the reference validator judges (200 is the full acceptance).
PATIENTS ?= 50
VALIDATED ?= 10
# The crash loop: kills, and patients (some 36 records each). The order: workers, patients, events.
KILLS ?= 500
CLINIC ?= 285
WORKERS ?= 32
LANES ?= 1000
EVENTS ?= 100000
# Changes of the ledger's rows.
EDITS ?= 10000
# Patients whose every field is marked before they are de-identified.
CANARIES ?= 10000
# Records that are sent to real servers while workers and servers are killed.
KILLED ?= 5000
# Which cells of the fault matrix.
FAULTS ?=
# Options of the benchmark, such as BENCH="--seconds 1 --kind session".
BENCH ?=

.PHONY: help demo test test-long lint acceptance wheel-test faults crash-loop kills consents jti audit bombs hammer tamper canaries views bench-dataset bench-deidentify bench-map bench-ledger bench-consent supply-chain lock clean

help: ## list what can be done
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

$(READY): requirements/dev.lock pyproject.toml hatch_build.py $(wildcard fhirbridge/layout/native/*)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed (Debian: python3-venv)" >&2; exit 1; }
	echo "making the environment in $(VENV) with $$($(PYTHON) --version)"
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install --require-hashes --no-deps -r requirements/dev.lock
	$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY) ## a clinic to a real FHIR server and back (PATIENTS=50)
	@$(BIN)/python -m fhirbridge.demo --patients $(PATIENTS)

lint: $(READY) ## style, types, import contracts
	@$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache >/dev/null || { $(BIN)/lint-imports --no-cache; exit 1; }

test: lint ## all that a laptop with Python can prove
	@$(BIN)/pytest -q -n auto --dist loadgroup -m "not long"
	echo "proved: style, types, import contracts; laws and bad input; the contract with a real FHIR R4 server (SEKMET)"

test-long: $(READY) ## what takes longer: all interleavings of a withdrawal, a server and workers that are killed
	@$(BIN)/pytest -q -n auto --dist loadgroup -m long
	echo "proved: after an effective withdrawal no byte leaves that it forbids; nothing lost and nothing twice under kills"

acceptance: $(READY) ## the reference validator and HAPI FHIR R4 and R5 (Java 17, Maven; VALIDATED=10)
	@for tool in java mvn curl; do
	  command -v $$tool >/dev/null || { echo "make acceptance needs $$tool (Debian: openjdk-17-jdk-headless, maven, curl)" >&2; exit 1; }
	done
	$(BIN)/pytest -q -n 2 --dist loadgroup --acceptance -m acceptance --patients $(VALIDATED)
	echo "proved: 0 errors of the reference validator in R4, R4B and R5 ($(VALIDATED) patients); the contract with HAPI FHIR R4 and R5"

wheel-test: $(READY) ## the suite against the built wheel, in an empty environment outside the checkout
	@away=$$(mktemp -d)
	trap 'rm -rf "$$away"' EXIT
	$(BIN)/python -m build --wheel --no-isolation --outdir "$$away/dist" . >/dev/null
	$(PYTHON) -m venv "$$away/venv"
	"$$away/venv/bin/python" $(PIP) install --require-hashes --no-deps -r requirements/dev.lock
	"$$away/venv/bin/python" $(PIP) install --no-deps "$$away"/dist/*.whl
	mkdir "$$away/suite"
	for one in tests examples benchmarks supply_chain docs requirements pyproject.toml README.md; do
	  if [ -e "$$one" ]; then cp -R "$$one" "$$away/suite/"; fi
	done
	if [ -d ../shared ]; then ln -s "$$(cd ../shared && pwd)" "$$away/shared"; fi
	cd "$$away/suite"
	"$$away/venv/bin/python" -m pytest -q -n auto --dist loadgroup -m "not long and not slow" -p no:cacheprovider
	echo "proved: the wheel alone, outside the checkout, passes the suite"

faults: $(READY) ## the fault matrix: every cell, both stores, all servers, into docs/faults.md (three quarters of an hour; FAULTS="--store sqlite")
	@rm -f faults.ndjson
	$(BIN)/python -m tests.faults.matrix cells --keep faults.ndjson $(FAULTS)
	$(BIN)/python -m tests.faults.matrix table faults.ndjson --write docs/faults.md

crash-loop: $(READY) ## kill -9 at all named points, both stores, one worker and four; then the order of many workers
	@for store in sqlite postgres; do
	  for workers in 1 4; do
	    $(BIN)/python -m tests.faults.matrix crash-loop --store $$store --personality hapi --patients $(CLINIC) --kills $(KILLS) --workers $$workers
	  done
	done
	$(BIN)/python -m tests.faults.ordering --workers $(WORKERS) --patients $(LANES) --events $(EVENTS)

kills: $(READY) ## 5,000 records to real servers, workers and servers killed, lost writes mended (Java 17, Maven; an hour)
	@for server in sekmet hapi-r4 hapi-r5 hapi-r4-unsynced; do
	  $(BIN)/python -m tests.acceptance.kills --server $$server --records $(KILLED) --lease 10
	done

consents: $(READY) ## 50 patients who decide, on real servers: what is permitted arrives, withdrawals take back (Java 17, Maven)
	@for server in sekmet hapi-r4 hapi-r5; do $(BIN)/python -m tests.acceptance.consents --server $$server; done

jti: $(READY) ## a million assertion names from 8 processes, 2,000 assertions under clocks that are off
	@$(BIN)/python -m tests.auth.jti --count 1000000 --processes 8 --assertions 2000

audit: $(READY) ## 10,000 changes of the audit trail, each found; kills while pushing, nothing unannounced
	@$(BIN)/python -m tests.audit.tamper --count 10000
	$(BIN)/python -m tests.audit.kills --kills 200

bombs: $(READY) ## what hostile answers cost: each refused in 2 s and 64 MiB
	@$(BIN)/python -m tests.hostile.bombs

canaries: $(READY) ## marks in every field of 10,000 patients: none survives de-identification (CANARIES=10000)
	@$(BIN)/python -m tests.research.deidentify.canary --patients $(CANARIES)

bench-deidentify: $(READY) ## microseconds a record for each profile
	@$(BIN)/python -m benchmarks.deidentify

hammer: $(READY) ## a million broken bodies: the compiled leaf and the Python one must agree on each
	@$(BIN)/python -m tests.laws.hammer --count 1000000

tamper: $(READY) ## 10,000 changes of the ledger's rows, each found (EDITS=10000)
	@$(BIN)/python -m tests.vault.tamper --count $(EDITS)

bench-dataset: $(READY) ## NDJSON to a finished dataset, a million vital signs, beside what others use
	@$(BIN)/python -m benchmarks.dataset --million --write docs/benchmarks.md

views: $(READY) ## our ViewDefinitions, run by an engine of others, against our tables (50 patients)
	@$(BIN)/python -m tests.research.dataset.views --patients 50

bench-consent: $(READY) ## decisions a second, with and without the memory
	@$(BIN)/python -m benchmarks.consent $(BENCH)

bench-map: $(READY) ## records → FHIR bytes and back, as ratios to a hand-written converter
	@$(BIN)/python -m benchmarks.map $(BENCH)

bench-ledger: $(READY) ## what the ledger costs: claim, begin, null send, settle
	@$(BIN)/python -m benchmarks.ledger $(BENCH)

supply-chain: $(READY) ## licences, a bill of materials (build/fhirbridge.cdx.json), known faults of what is locked
	@$(BIN)/python -m supply_chain licences --write docs/licences.md
	$(BIN)/python -m supply_chain sbom --write build/fhirbridge.cdx.json
	$(BIN)/python -m supply_chain audit

lock: ## write requirements/*.lock anew (needs uv)
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --upgrade --extra dev --output-file requirements/dev.lock pyproject.toml

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
