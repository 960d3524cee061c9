PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
LOCK = requirements/lock.txt
BUILT = pyproject.toml hatch_build.py $(wildcard georeg/*.c georeg/matching/*.[ch]) $(LOCK)

.PHONY: demo benchmarks test lowest lint lock plugin texts clean

demo: $(VENV)/.demo  ## install, align sample_tiles/ and show what it did
	$(BIN)/python sample_tiles/demo.py

benchmarks: $(VENV)/.test  ## how accurate, how fast and how robust; takes half an hour, all of robustness.py hours
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/whole.py --quick
	$(BIN)/python benchmarks/robustness.py --quick
	$(BIN)/python benchmarks/models.py --quick

test: $(VENV)/.test  ## install and run the whole suite
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadgroup $(PYTEST_ARGS)

lowest:  ## the suite with the oldest versions that pyproject.toml admits
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet -r requirements/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --no-deps -e .
	.venv-lowest/bin/python -m pytest -W default $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/mypy

lock:  ## pin the newest and the oldest set of versions; needs uv
	uv pip compile -q --python-version 3.11 --extra dev --no-emit-index-url --no-header -o $(LOCK) pyproject.toml
	uv pip compile -q --python-version 3.11 --extra test --resolution lowest-direct --no-emit-index-url --no-header \
		-o requirements/lowest.txt pyproject.toml

texts:  ## the catalogue of the plugin's texts, for translators
	$(PYTHON) qgis_plugin/translations.py

plugin:  ## the plugin for QGIS as a zip in dist/
	$(PYTHON) qgis_plugin/build.py dist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python $(BUILT)
	$(BIN)/python -m pip install --quiet -c $(LOCK) -e .
	touch $@

$(VENV)/.test: $(VENV)/bin/python $(BUILT)
	$(BIN)/python -m pip install --quiet -c $(LOCK) -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .venv-lowest .venv-qgis demo_output build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
