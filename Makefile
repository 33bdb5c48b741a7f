# Everything a newcomer needs: `make demo`, `make test`. Each target makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench faults format clean

demo: $(STAMP)
	$(BIN)/fieldlog demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m "not faults"

check: $(STAMP)
	$(BIN)/python tools/check.py

bench: $(STAMP)
	$(BIN)/python -m tools.bench

faults: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 -m faults

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,peers,sim]'
	@touch $@

clean:
	rm -rf $(VENV)
