# The two commands of the README are `make run` and `make test`; both set everything up by themselves.
VENV  ?= .venv
PY    := $(VENV)/bin/python
RUN   := $(VENV)/.run-ready
DEV   := $(VENV)/.dev-ready
CTI   := tools/simcam/simcam.cti

.PHONY: run test lint tests bench bench-engine demo-engine slim-teacher plans clean

run: $(RUN) $(CTI)                ## line 3 of the demo plant: virtual camera, Harvesters, engine, verdicts
	$(PY) tools/demo.py

# Beside each other: types take half a minute of one core, the tests seldom more than the other.
test: $(DEV) $(CTI)               ## linters, types, layers, and every test
	$(MAKE) --no-print-directory --jobs=2 lint tests

tests: $(DEV) $(CTI)
	$(PY) -m pytest

lint: $(DEV) $(CTI)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(RUN) $(CTI)              ## engine against whole line, latency, CPU by stage, bytes moved, 10 minutes of load
	$(PY) tools/bench_line.py --soak-minutes 10 --page docs/speed.md

bench-engine: $(DEV)             ## presets against the paper's graph: runtimes, precisions, batches, threads, interleaved
	$(PY) tools/bench_engine.py --page docs/speed.md

slim-teacher: $(DEV)              ## make preset fastest's teacher anew, on drawn pictures (half an hour)
	$(PY) tools/slim_teacher.py

demo-engine: $(DEV)               ## train the demo recipe anew on the loom (minutes)
	$(PY) tools/make_demo_engine.py

plans: $(DEV)                     ## let TensorRT build every pair's graph at every precision (minutes; no GPU needed)
	$(PY) tools/build_pairs.py

$(CTI): $(wildcard tools/simcam/*.c tools/simcam/*.h tools/simcam/*.xml tools/simcam/Makefile)
	$(MAKE) -C tools/simcam

$(PY):
	tools/setup.sh $(VENV)

$(RUN): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable .
	touch $@

$(DEV): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable ".[train,dev]"
	$(PY) tools/fetch_tlsimu.py build/tlsimu
	touch $@ $(RUN)

clean:
	rm -rf $(VENV) build out .mypy_cache .ruff_cache .pytest_cache
	$(MAKE) -C tools/simcam clean
