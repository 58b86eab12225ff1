# The default target is this file's own help.
PYTHON ?= python3
VENV   := .venv
TEST_ARGS ?= -n 2 --dist loadfile
RUN    := $(VENV)/bin/python -m

.DEFAULT_GOAL := help
.PHONY: help setup demo up test faults oracle unit bench readme check format lock schemas clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## a virtual environment with everything, at the locked versions
	@sh deploy/bootstrap/start.sh "$(PYTHON)" "$(VENV)" $(if $(filter setup,$(MAKECMDGOALS)),,quiet)

demo: setup ## two synchronized cycles of a pharmacy, on real input (DEMO_ARGS="--patients 2000 --days 365")
	@$(VENV)/bin/medsync demo $(DEMO_ARGS)

up: setup ## Kafka, PostgreSQL and the services, until Ctrl-C
	@$(VENV)/bin/medsync up

test: setup ## every test, on real Kafka and real PostgreSQL
	@$(RUN) pytest $(TEST_ARGS)

faults: setup ## a thousand kills over a hundred thousand events, every disaster, then the mistakes (FAULTS_ARGS="--seed 2 --resume")
	@$(RUN) tests.faults $(FAULTS_ARGS)

oracle: setup ## the planner against an exact search, a solver, and the years that its plans make
	@$(RUN) pytest tests/unit/planner tests/oracle -m long $(TEST_ARGS)

unit: setup ## the quick tests that need no servers: seconds (`make test` runs the slow ones too)
	@$(RUN) pytest tests/unit tests/contract -m "not slow and not long" -p no:schemathesis $(TEST_ARGS)

bench: bench-plan bench-replan bench-feed bench-demo bench-hop bench-latency bench-growth bench-backlog bench-console_page bench-audit bench-wires ## what the fabric carries, beside fair opponents, and how fast the planner and the console are (BENCH_ARGS=--strict); each alone: make bench-hop

bench-%: setup
	@$(RUN) benchmarks.$* $(BENCH_ARGS)

readme: setup ## what README shows of the demo, made anew by a run of it (needs chromium)
	@$(RUN) tests.e2e.readme

check: setup ## lint, format, types, rooms, borders, unused and missing dependencies
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) tools.rooms
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/deptry .

format: setup ## put the code in its form
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

schemas: setup ## the JSON Schemas of every event and the OpenAPI documents of the services, from the code
	@$(RUN) cli.schemas

lock: ## resolve the dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --extra dev \
		--custom-compile-command 'make lock' --quiet pyproject.toml -o requirements.lock

clean: ## forget everything that was set up or stored here
	rm -rf $(VENV) .medsync *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
