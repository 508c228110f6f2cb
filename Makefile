PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: quickstart test lint clean

quickstart: $(VENV)/installed
	$(BIN)/python -m experiments.main --config=experiments/configs/quickstart.py --workdir=runs/quickstart

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements.txt
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed requirements-test.txt
	$(BIN)/python -m pip install -q -r requirements-test.txt
	touch $@

clean:
	rm -rf $(VENV)
