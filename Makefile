# Everything runs from .venv; a target sets up what it needs. Needs Python 3.11 or newer and make.
VENV := .venv
BIN := $(VENV)/bin
PRODUCT := $(VENV)/.product
STAMP := $(VENV)/.installed
LOCK := requirements.lock
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK)
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
PEERS_LIST := benchmarks/serving/requirements.txt
FIND := for p in "$$PYTHON" python3 python3.14 python3.13 python3.12 python3.11 python; do \
	[ -n "$$p" ] && "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done
TESTS ?=
unexport PYTHONDONTWRITEBYTECODE # each process would compile the product anew

.DEFAULT_GOAL := help
.PHONY: help install demo demo-all test test-fast test-slow test-faults chaos mutations up lock bench bench-api bench-attacks bench-burst bench-checkpoints bench-convergence bench-devices bench-first-epoch bench-fleet bench-forecasting bench-hostile bench-language bench-media bench-overload bench-panel bench-serving bench-serving-media bench-serving-predictions bench-serving-text bench-serving-wrk bench-steps bench-streaming bench-texts bench-verdicts lint types contracts docs secrets digests clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## .venv with everything: product, tests, linters (about 3 GB, some minutes)

$(BIN)/python:
	@python=$$($(FIND)); [ -n "$$python" ] || { echo "Recurra needs Python 3.11 or newer: set PYTHON=/path/to/it" >&2; exit 1; }; \
	"$$python" -m venv $(VENV)

# What runs the product, without linters and test clients.
$(PRODUCT): pyproject.toml client/pyproject.toml $(LOCK) | $(BIN)/python
	$(PIP) --editable ./client --editable '.[worker,page]'
	@touch $@

$(STAMP): pyproject.toml client/pyproject.toml $(LOCK) | $(BIN)/python
	$(PIP) --editable ./client --editable '.[dev]'
	@touch $@ $(PRODUCT)

demo: $(PRODUCT) ## train a GRU and an LSTM on real weather, check their forecasts (2 minutes)
	$(BIN)/recurra demo

demo-all: $(PRODUCT) ## the same for every task: some minutes each
	$(BIN)/recurra demo --task all

up: $(PRODUCT) ## the whole service on http://127.0.0.1:8000, data in .recurra/
	$(BIN)/recurra up

# Folders without fast tests are not even collected.
FAST := tests/app tests/client tests/architecture --ignore tests/app/api/routes --ignore tests/app/cli/stack

test-fast: install ## tests that need no server: under a minute
	$(BIN)/pytest -m 'not slow and not faults and not server' -n 2 --dist worksteal $(or $(TESTS),$(FAST))

test: install ## all but the slow and the fault tests, on embedded servers
	$(BIN)/pytest -m 'not slow and not faults' -n 3 --dist loadfile --no-loadscope-reorder $(TESTS)

test-slow: install ## tests that learn on real data, and ten times the examples of each property: about an hour
	RECURRA_HYPOTHESIS=slow $(BIN)/pytest -m 'slow or hypothesis' $(TESTS)

# Real services are killed, frozen and cut off; also on the servers that the environment names.
test-faults: install ## services are killed, frozen and cut off: about half an hour
	$(BIN)/pytest -m faults $(TESTS)

# Random faults over a stream of ten jobs a minute; a run of 20 minutes or more goes into RESULTS.md. With SERVERS
# on the PostgreSQL and Redis of RECURRA_TEST_DATABASE_URL and RECURRA_TEST_REDIS_URL, which is emptied.
MINUTES ?= 20
SEED ?= 0
GAP ?= 4
KILL_GAP ?= 2

chaos: install ## random faults for MINUTES over a stream of jobs
	$(BIN)/python -m benchmarks.chaos --minutes $(MINUTES) --seed $(SEED) --gap $(GAP) --kill-gap $(KILL_GAP) $(if $(SERVERS),--servers)

# The other servers of the comparison, in an environment of their own: Recurra needs none of them.
$(PEERS_STAMP): $(PEERS_LIST) | $(STAMP)
	[ -x $(PEERS)/bin/python ] || $(BIN)/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $(PEERS_LIST)
	@touch $@

# Likewise neuralforecast, with the torch that it is compared on.
NEURALFORECAST := .venv-neuralforecast
NEURALFORECAST_LIST := benchmarks/convergence/requirements.txt

$(NEURALFORECAST)/.installed: $(NEURALFORECAST_LIST) | $(STAMP)
	[ -x $(NEURALFORECAST)/bin/python ] || $(BIN)/python -m venv $(NEURALFORECAST)
	$(NEURALFORECAST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(NEURALFORECAST_LIST)
	@touch $@

# And statsforecast, with the half-hourly demand that a package beside it has.
STATSFORECAST := .venv-statsforecast
STATSFORECAST_LIST := benchmarks/forecasting/peers/requirements.txt

$(STATSFORECAST)/.installed: $(STATSFORECAST_LIST) | $(STAMP)
	[ -x $(STATSFORECAST)/bin/python ] || $(BIN)/python -m venv $(STATSFORECAST)
	$(STATSFORECAST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(STATSFORECAST_LIST)
	@touch $@

# Each fault of benchmarks/mutations is made in a copy of the repository; ONLY takes those with a text in their name.
mutations: install ## deliberate faults, each of which the tests have to notice: half an hour
	$(BIN)/python -m benchmarks.mutations $(if $(ONLY),--only '$(ONLY)') $(if $(SAMPLE),--sample $(SAMPLE))

lock: $(BIN)/python ## write requirements.lock anew from what pyproject.toml allows today
	$(BIN)/python .ci/lock.py $(LOCK)

bench: install $(PEERS_STAMP) $(STATSFORECAST)/.installed ## api, forecasting, serving, overload, burst, checkpoints, streaming: hours
	$(BIN)/python -m benchmarks

bench-api bench-attacks bench-burst bench-checkpoints bench-devices bench-first-epoch bench-fleet bench-hostile bench-overload bench-panel bench-steps bench-streaming bench-texts bench-verdicts: bench-%: install
	$(BIN)/python -m benchmarks.$(subst -,_,$*)

# Sequences of text and of sensor readings, three seeds each: about two hours in all; DATA names some of them.
DATA ?=

bench-language: install ## learning from text and sensor readings, three seeds: about two hours
	$(BIN)/python -m benchmarks.language $(if $(DATA),--data $(DATA))

bench-media: install ## learning from recordings, clips and scores, three seeds: hours
	$(BIN)/python -m benchmarks.media $(if $(DATA),--data $(DATA))

bench-forecasting: install $(STATSFORECAST)/.installed ## M3 and long series beside classical methods: an hour
	$(BIN)/python -m benchmarks.forecasting

bench-convergence: install $(NEURALFORECAST)/.installed ## time to a validation error beside neuralforecast: hours
	$(BIN)/python -m benchmarks.convergence

bench-serving: install $(PEERS_STAMP) ## predictions a second beside other servers: hours
	$(BIN)/python -m benchmarks.serving

# Of it only its first section: DATA names some of forecast-64, forecast-512, forecast-64-covariates,
# forecast-512-covariates, sentiment and tagging, ONLY some servers; QUICK=1 tries it in short.
ONLY ?=
QUICK ?=

bench-serving-predictions: install $(PEERS_STAMP) ## forecasts, sentiment and tagging as users send them
	$(BIN)/python -m benchmarks.serving --part predictions $(if $(DATA),--data $(DATA)) \
		$(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

# The same requests under wrk, which has to be installed: DATA and ONLY as above.
bench-serving-wrk: install $(PEERS_STAMP)
	$(BIN)/python -m benchmarks.serving.generator.wrk $(if $(DATA),--data $(DATA)) $(if $(ONLY),--only $(ONLY))

# Of it only sentiment and tagging, which need no other environment.
bench-serving-text: install
	$(BIN)/python -m benchmarks.serving --part text

# Likewise only speech and video.
bench-serving-media: install
	$(BIN)/python -m benchmarks.serving --part media

lint: install ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy, strict
	$(BIN)/mypy

contracts: install ## import-linter: the layers of pyproject.toml
	$(BIN)/lint-imports

docs: install ## the documents as a site, in build/docs; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# One random password in two files: PostgreSQL reads the first, Recurra the URL that holds it. The directory
# keeps other users out; the files are readable because containers see them mounted under another user id.
secrets: secrets/postgres_password secrets/recurra_database_url

secrets/postgres_password:
	@install -d -m 700 secrets
	@od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > $@.part && chmod 444 $@.part && mv $@.part $@

secrets/recurra_database_url: secrets/postgres_password
	@printf 'postgresql://recurra:%s@postgres:5432/recurra' "$$(cat $<)" > $@.part && chmod 444 $@.part && mv -f $@.part $@

# Names of images say which release, digests which bytes: .env passes today's digests to docker-compose.yml. Review the
# change as that of a lock file; what else stands in .env stays.
digests: ## write the digests of the images of others into .env, as their registry has them today (needs docker)
	@grep -v '^RECURRA_[A-Z]*_IMAGE=' .env > .env.part 2>/dev/null; \
	sed -n 's/.*\$${\(RECURRA_[A-Z]*_IMAGE\):-\([^}]*\)}.*/\1 \2/p' docker-compose.yml | sort -u | while read -r variable image; do \
		digest=$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$$image") || exit 1; \
		echo "$$variable=$$image@$$digest"; \
	done >> .env.part && mv .env.part .env || { rm -f .env.part; exit 1; }

clean: ## remove environments, caches and build outputs
	rm -rf $(VENV) $(PEERS) $(NEURALFORECAST) $(STATSFORECAST) build dist *.egg-info client/build client/dist client/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
