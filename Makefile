# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# A run starts many processes: keep what Python has compiled, whatever the shell around says.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test check format install wheel lock clean

demo: $(INSTALLED)  ## digits, from data set to report, in a few minutes
	$(BIN)/atoll run --config configs/digits.toml

test: $(INSTALLED)
	scripts/postgres install
	scripts/slurm install
	scripts/sshd install
	scripts/nftables
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	scripts/protos --check
	$(BIN)/python -P scripts/wire

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

wheel: $(INSTALLED)  ## dist/atoll-….whl, which deploy/node.sh installs on a bare node
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

lock:  ## resolve afresh and write constraints.txt
	scripts/lock

clean:
	rm -rf .venv runs
