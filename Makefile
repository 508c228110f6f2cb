PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
BIN = $(VENV)/bin

.PHONY: quickstart demo test test-all test-long lint docs clean

quickstart: $(VENV)/installed
	$(BIN)/python -m experiments.main --config=experiments/configs/quickstart.py --workdir=runs/quickstart
	@echo 'for all other commands of the documentation: source $(BIN)/activate'

demo: quickstart $(VENV)/installed-demo
	for network in none cgat; do $(BIN)/python -m experiments.index --workdir=runs/quickstart --network=$$network --out=runs/demo/$$network || exit; done
	$(BIN)/python -m experiments.serve --index=runs/demo/none --index=runs/demo/cgat --port=$(PORT) --open

# Three workers on two cores: many tests wait for a program that they have started.
test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q -n 3 --dist loadfile

test-all: $(VENV)/installed-test
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --slow --durations=40

test-long: $(VENV)/installed-test
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --long -m long

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees docs build/docs

# A .venv of another Python, once made, would stay: venv puts no new one over it.
$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)) and "Python 3.11 or 3.12 is needed, and this is %d.%d: PYTHON=/path/to/python3.12 make ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements.txt
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@

$(VENV)/installed-demo: $(VENV)/installed requirements-test.txt
	$(BIN)/python -m pip install -q -c requirements-test.txt faiss-cpu fastapi uvicorn python-multipart prometheus-client
	touch $@

$(VENV)/installed-test: $(VENV)/installed requirements-test.txt
	$(BIN)/python -m pip install -q -r requirements-test.txt
	touch $@

$(VENV)/installed-docs: $(VENV)/installed-test requirements-docs.txt
	$(BIN)/python -m pip install -q -r requirements-docs.txt
	touch $@

clean:
	rm -rf $(VENV)
