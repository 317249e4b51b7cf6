# Each target creates what it needs; 'make demo' and 'make test' work on a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all lint bench bench-mini docs clean

demo: $(READY)  ## generate, pretrain, judge, export; ends with demo/report.html
	$(BIN)/ssl-equiv demo --out demo

test: $(READY)  ## the default tests, under 6 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-all: $(READY)  ## also the slow ones
	$(BIN)/python -m pytest -m "not slurm and not gpu"

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## every speed, and the tables of the building blocks; results in benchmarks/results
	for script in groups predictor methods transforms generate load live memory eval \
		checkpoints scaling lidar_data lidar shift_vit shift_robustness \
		equiangular equiangular_heads; do \
		$(BIN)/python -m benchmarks.$$script || exit 1; \
	done
	$(BIN)/python -m benchmarks.table

bench-mini: $(READY)  ## the reference table, under an hour on 2 quiet cores; run again to go on
	$(BIN)/python -m benchmarks.mini
	$(BIN)/python -m benchmarks.table

docs: $(READY)  ## the site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
