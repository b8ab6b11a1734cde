PYTHON ?= .venv/bin/python

.PHONY: help install test unit lint format types bench record verified check

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

install: ## Make .venv with everything that development needs
	python3 -m venv .venv
	.venv/bin/pip install -q -e '.[dev]'

test: install ## Run every test (installs real CLIs from npm into a cache)
	.venv/bin/pytest

unit: ## Run the tests that start no real CLI
	$(PYTHON) -m pytest -m 'not real and not namespace'

lint: ## Look for defects and style
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: ## Rewrite the code in the project's style
	$(PYTHON) -m ruff format .

types: ## Check the types
	$(PYTHON) -m mypy

check: lint types unit ## What to run before a commit

bench: ## Time the doctor against the manual procedure (prints ratios)
	$(PYTHON) scripts/bench.py

record: ## Record Deployments of real servers as fixtures
	$(PYTHON) scripts/record_deployments.py

verified: ## Run every variant of the scenarios and record which fixes they prove
	COPILOT_DOCTOR_THOROUGH=1 COPILOT_DOCTOR_RECORD_VERIFIED=1 $(PYTHON) -m pytest tests/scenarios
