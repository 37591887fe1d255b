# `make demo` and `make test` are the two commands; each makes .venv first if it is missing.
PYTHON ?= python3
# PyTorch's CPU wheels; for a GPU: make TORCH_INDEX=https://download.pytorch.org/whl/cu130 .venv/.done
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)
UV := $(shell command -v uv 2>/dev/null)
PIP := $(if $(UV),$(UV) pip install --python .venv/bin/python,.venv/bin/python -m pip install)
PY := .venv/bin/python
# One thread per process while stepping: BLAS and OpenMP pools fight with the physics threads and with xdist.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: demo test test-slow check format bench peers clean

.venv/.done: pyproject.toml constraints.txt
	test -x $(PY) || $(if $(UV),$(UV) venv --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)
	.venv/bin/python -c "import torch" 2>/dev/null \
	  || .venv/bin/python -m pip install --retries 0 --timeout 5 --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null \
	  || $(if $(UV),.venv/bin/python -m pip --version >/dev/null 2>&1 || $(UV) pip install --python $(PY) pip;) .venv/bin/python -m pip install $(TORCH)
	$(PIP) -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/.done
	$(PY) scripts/demo.py

test: .venv/.done
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup

test-slow: .venv/.done
	$(PY) -m pytest -m slow -n $(WORKERS) --dist loadgroup

check: .venv/.done
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: .venv/.done
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: .venv/.done
	$(PY) benchmarks/env_throughput.py

peers: .venv/.done
	$(PIP) -c constraints.txt -e '.[dev,peers]'

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache
