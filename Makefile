.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
WHEELS := $(if $(OFFLINE),--no-index --find-links wheelhouse)
BACKLOG ?= samples/backlog.csv

.PHONY: help install demo demo-agent up check test chaos chaos-long race mutants bench evals clean lock wheelhouse

help:           ## This list
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Every day
install: $(VENV)/.installed ## An environment of its own, with everything pinned by hash
demo: install   ## Triage the sample backlog into out/demo, with servers of its own (BACKLOG=your.csv)
	$(BIN)/sluice triage $(BACKLOG) --campaign "$${CAMPAIGN:-demo}" --out "out/$${CAMPAIGN:-demo}"
demo-agent: install ## An agent at work: it plans, is refused, is asked about, is stopped; no key, no network
	$(BIN)/python -m samples.agent
wheelhouse: $(BIN)/pip ## Download everything pinned, once; then OFFLINE=1 works with install and demo
	$(PIP) download --require-hashes -r requirements-dev.txt -d wheelhouse
	$(PIP) download setuptools wheel -d wheelhouse # what builds the one package without a wheel
	@echo "wheelhouse/ is full: 'make demo OFFLINE=1' needs no network now"
up: install     ## Sluice with its own PostgreSQL and Redis, the API, two workers
	$(BIN)/sluice up
check: install  ## Format, lint, types, import contracts, our own pipelines, unit tests, the protocol
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sluice check worker.pipelines
	$(BIN)/pytest -q tests/unit tests/protocol
test: install   ## Everything that needs real servers: PostgreSQL, Redis, RabbitMQ, Roundup
	$(BIN)/pytest -q -n 2 --durations=25 tests --ignore tests/unit --ignore tests/protocol

##@ Before a release
chaos: install  ## Broken servers, a blow at every boundary of a run, four minutes of everything
	SLUICE_TEST_LONG=1 $(BIN)/pytest -q -s tests/chaos tests/incident
	$(BIN)/python -m tests.chaos --minutes 4
chaos-long: install ## An hour: 10,000 requests, hundreds of kills, both brokers
	$(BIN)/python -m tests.chaos --long --logs out/chaos
evals: install  ## Score every guard and decision, on public data and on a model that says anything (half an hour)
	SLUICE_TEST_LONG=1 $(BIN)/pytest -q -s --show-capture=no tests/evals
race: install   ## 10,000 flips of the gate against eight writers (a quarter of an hour)
	SLUICE_TEST_LONG=1 $(BIN)/pytest -q tests/race
	$(BIN)/python -m tests.race --flips 10000
mutants: install ## Take every guard out in turn, and see a test go red (ten minutes)
	$(BIN)/python -m tests.mutants
bench: install  ## Runs per second, latency and cost per run, raw Celery beside it (ten minutes)
	$(BIN)/python -m tests.benchmarks --json out/bench.json
lock: install   ## Pin every dependency anew, by hash
	$(PIP) install uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes -q --no-header --upgrade pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes -q --no-header pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

##@ Afterwards
clean: ## Stop the embedded servers and remove what they hold
	-$(BIN)/sluice down
	rm -rf .sluice out

$(VENV)/.installed: requirements-dev.txt pyproject.toml | $(BIN)/pip
	@echo "setting up $(VENV) (once, about a minute)$(if $(OFFLINE), from wheelhouse/)"
	@$(PIP) install $(WHEELS) --require-hashes -r requirements-dev.txt
	@$(PIP) install $(WHEELS) --no-deps --no-build-isolation --editable . 2>/dev/null
	@touch $@
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sluice needs Python 3.11 or newer; set PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
