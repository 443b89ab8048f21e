# Two commands do everything: `make serve` and `make test`. See README.md.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
CONFIG ?= serve_config.yaml
STAMP  := $(VENV)/.penstock

.PHONY: help serve test quick clients docs eval lint format models clean

help: ## these lines
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

serve: $(STAMP)-serve ## install, prepare the bundled models, start Ray and the whole graph (CONFIG=file)
	@$(BIN)/penstock serve $(CONFIG)

test: $(STAMP)-dev ## every test: units, contracts on fakes and real adapters, HTTP, the real graph on Ray Serve with vLLM
	@$(BIN)/penstock models prepare
	@$(BIN)/python tools/test.py $(ARGS)

quick: $(STAMP)-dev ## the tests that need no Ray, no PostgreSQL, no Chromium and no model's weights; tells its time
	@$(BIN)/python tools/test.py --quick $(ARGS)

clients: $(STAMP)-dev ## Claude Code, Codex, aider, the SDKs and others, unmodified, against the real graph: their table (needs npm)
	@$(BIN)/penstock models prepare
	@$(BIN)/python -m tests.conformance.clients $(ARGS)

docs: $(STAMP)-dev ## the docs as a site in site/, its reference made from the code
	@$(BIN)/python -m tools.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

eval: $(STAMP)-dev ## the judges' figures on your rows: DATA=folder, or ARGS="--data folder --out folder --only toxicity"
	@$(BIN)/penstock models prepare
	@$(BIN)/python -m evals $(if $(DATA),--data $(DATA)) $(ARGS)

lint: $(STAMP)-dev ## ruff, mypy and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(STAMP)-dev ## ruff, with its fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

models: $(STAMP)-serve ## prepare the bundled models only
	@$(BIN)/penstock models prepare

clean: ## remove the virtual environment; models and state stay in your home folder
	rm -rf $(VENV)

$(STAMP)-serve: locks/cpu.txt pyproject.toml tools/install.sh
	@sh tools/install.sh "$(PYTHON)" "$(VENV)" locks/cpu.txt
	@touch $@

$(STAMP)-dev: $(STAMP)-serve locks/dev.txt locks/split.txt Makefile
	@sh tools/install.sh "$(PYTHON)" "$(VENV)" locks/split.txt
	@sh tools/install.sh "$(PYTHON)" "$(VENV)" locks/dev.txt
	@touch $@
