# Everything runs from .venv; a target sets up what it needs. Needs Python 3.11 or newer and make.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
PEERS_LIST := benchmarks/serving/requirements.txt
FIND := for p in "$$PYTHON" python3 python3.14 python3.13 python3.12 python3.11 python; do \
	[ -n "$$p" ] && "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done
TESTS ?=

.PHONY: install demo demo-all test test-slow test-faults chaos up bench bench-api bench-burst bench-checkpoints bench-forecasting bench-language bench-overload bench-serving bench-serving-text bench-streaming lint types contracts secrets clean

install: $(STAMP)

$(STAMP): pyproject.toml
	@python=$$($(FIND)); [ -n "$$python" ] || { echo "Recurra needs Python 3.11 or newer: set PYTHON=/path/to/it" >&2; exit 1; }; \
	[ -x $(BIN)/python ] || "$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/recurra demo

# Every task on a small real sample, one after the other: some minutes.
demo-all: install
	for task in forecasting classification tagging generation translation; do $(BIN)/recurra demo --task $$task || exit 1; done

up: install
	$(BIN)/recurra up

test: install
	$(BIN)/pytest -m 'not slow and not faults' -n 2 --dist worksteal $(TESTS)

test-slow: install
	$(BIN)/pytest -m slow $(TESTS)

# Real services are killed, frozen and cut off; also on the servers that the environment names.
test-faults: install
	$(BIN)/pytest -m faults $(TESTS)

# Random faults over a stream of ten jobs a minute; a run of 20 minutes or more goes into RESULTS.md.
MINUTES ?= 20
SEED ?= 0

chaos: install
	$(BIN)/python -m benchmarks.chaos --minutes $(MINUTES) --seed $(SEED)

# The other servers of the comparison, in an environment of their own: Recurra needs none of them.
$(PEERS_STAMP): $(PEERS_LIST) | $(STAMP)
	[ -x $(PEERS)/bin/python ] || $(BIN)/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $(PEERS_LIST)
	@touch $@

bench: install $(PEERS_STAMP)
	$(BIN)/python -m benchmarks

bench-api bench-burst bench-checkpoints bench-forecasting bench-overload bench-streaming: bench-%: install
	$(BIN)/python -m benchmarks.$*

# Sequences of text and of sensor readings, three seeds each: about two hours in all; DATA names some of them.
DATA ?=

bench-language: install
	$(BIN)/python -m benchmarks.language $(if $(DATA),--data $(DATA))

bench-serving: install $(PEERS_STAMP)
	$(BIN)/python -m benchmarks.serving

# Of it only sentiment and tagging, which need no other environment.
bench-serving-text: install
	$(BIN)/python -m benchmarks.serving --part text

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports

# One random password in two files: PostgreSQL reads the first, Recurra the URL that holds it. The directory
# keeps other users out; the files are readable because containers see them mounted under another user id.
secrets: secrets/postgres_password secrets/recurra_database_url

secrets/postgres_password:
	@install -d -m 700 secrets
	@od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > $@.part && chmod 444 $@.part && mv $@.part $@

secrets/recurra_database_url: secrets/postgres_password
	@printf 'postgresql://recurra:%s@postgres:5432/recurra' "$$(cat $<)" > $@.part && chmod 444 $@.part && mv -f $@.part $@

clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
