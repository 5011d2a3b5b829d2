# `make repro` rebuilds everything; `make test` checks the code. Both make .venv where it is missing
# or where the pins changed. `make GPU=1 ...` installs TensorFlow with CUDA, `make CLUSTER=1 ...` Ray.
PYTHON ?= $(firstword $(foreach v,3.13 3.12 3.11,$(if $(shell python$(v) -c 'import venv' 2>/dev/null && echo ok),python$(v))) python3)
LOCK := $(if $(GPU),requirements-gpu.txt,requirements.txt)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help setup repro films exp compare test unit cluster-test lint doctor audit-packages ui replay params serve demo export serve-load bench torture hostile lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/pins $(if $(CLUSTER),.venv/cluster-pins) ## .venv with the pinned packages, and MLflow's empty store
	@# A downloaded archive has no git: DVC then works without experiments.
	@git rev-parse --git-dir >/dev/null 2>&1 || dvc config --local core.no_scm true
	@# Not in a folder that all users can write to; absolute, since queued experiments run elsewhere.
	@dvc config --local core.site_cache_dir "$(CURDIR)/.dvc/tmp/site_cache"
	@mkdir -p .dvc/tmp/site_cache && chmod 700 .dvc/tmp/site_cache # DVC unpickles what lies there
	@test -n "$$MLFLOW_TRACKING_URI" -o -e mlflow.db || python -m knee.tracking prepare || true

.venv/pins: $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: make PYTHON=python3.12 ..." % v)'
	@test ! -L .venv || { echo ".venv is a link to packages that others may use, and they are not those of $(LOCK): remove the link, then make setup again"; exit 1; }
	@echo "installing the packages of $(LOCK) into .venv"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $(LOCK)
	@# pip would compile on one core. A few packages have templates that are no Python.
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@cp $(LOCK) .venv/pins

.venv/cluster-pins: requirements-cluster.txt .venv/pins
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-cluster.txt
	@cp requirements-cluster.txt .venv/cluster-pins

repro: setup ## run the whole pipeline, AT_ONCE=1 for one stage at a time; what did not change is not run again
	@python -m stages.repro $(if $(AT_ONCE),--at-once $(AT_ONCE))
	@git diff --quiet -- dvc.lock 2>/dev/null || echo "dvc.lock has this run's results: git commit dvc.lock keeps them, git restore dvc.lock forgets them"

compare: setup ## all experiments, one line each
	@python -m knee.run.experiments

films: setup ## your own images, from the folder to the champion: make films DATA=folder [SHEET=file] [WEIGHTS=folder] [LOCATE=1 for whole films]
	@python -m stages.films $(if $(DATA),--data "$(DATA)") $(if $(SHEET),--sheet "$(SHEET)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(LOCATE),--locate $(if $(filter 0 no none off false,$(LOCATE)),none,knees))
	@python -m stages.repro $(if $(AT_ONCE),--at-once $(AT_ONCE))
	@echo "to keep this run: git add conf params.yaml dvc.lock && git commit -m 'My images'"

exp: setup ## dvc exp run, overrides checked first: make exp S="-S model=xception"
	@python -m stages.experiment $(S)

# Linters and types are checked beside the tests, and tell at the end what they found.
test: setup ## linters, types and all tests, side by side
	@said=$$(mktemp); $(MAKE) --no-print-directory --old-file=setup lint >"$$said" 2>&1 & lint=$$!; \
	$(MAKE) --no-print-directory --old-file=setup unit; tests=$$?; \
	wait $$lint; lint=$$?; cat "$$said"; rm -f "$$said"; \
	test $$tests -eq 0 || echo "make test: the tests failed" >&2; \
	test $$lint -eq 0 || echo "make test: the linters failed" >&2; \
	test $$tests -eq 0 -a $$lint -eq 0

# Two files at a time, the long ones first (tests/conftest.py): most of the time goes into starts of
# Python, which use one core. What a run makes once is shared by both (tests/shared.py).
unit: setup ## all tests without linters
	python -m pytest --numprocesses $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# Where the machine allows, in a network of its own that has nothing but loopback.
cluster-test: setup .venv/cluster-pins ## a Ray cluster and several workers on this machine, whatever is killed; QUICK=1: Ray alone, in minutes
	@alone="$$(unshare -rn true 2>/dev/null && echo 'unshare -rn')"; \
	$$alone python -m tests.execution.loopback python -m pytest -m "cluster$(if $(QUICK), and not slow)" tests/execution $(if $(QUICK),,tests/classifier/training)

lint: setup ## linters and types without tests
	ruff check
	ruff format --check
	mypy
	bandit --quiet --recursive --configfile pyproject.toml knee stages benchmarks

audit-packages: setup ## ask the registry for known holes in the pinned packages (needs a network)
	pip-audit --strict --disable-pip --require-hashes --requirement requirements.txt

doctor: setup ## check the project's health; make doctor MEND=1 mends what can be mended
	@python -m stages.doctor $(if $(MEND),--mend)

ui: setup ## the MLflow UI; says the address of the runs
	python -m knee.tracking ui

serve: setup ## the champion on http://127.0.0.1:5001 (docs/serving.md)
	python -m stages.serve

demo: setup ## a page for images on http://127.0.0.1:8501
	python -m stages.demo

export: setup ## the champion as a folder that serves it without this project: make export FOLDER=new_folder
	@test -n "$(FOLDER)" || { echo "give FOLDER, a new folder"; exit 1; }
	python -m stages.export "$(FOLDER)"

serve-load: setup ## requests/s, latency and memory of the champion's server over 10,000 requests
	python -m benchmarks.speed.serve_load $(LOAD)

replay: setup ## publish finished trainings that MLflow has not got
	python -m knee.tracking replay

params: setup ## compose params.yaml from conf/ again
	python -m knee.run.parameters --conf conf --out params.yaml

torture: setup ## kill the pipeline N times at random and see that nothing is lost: make torture N=10
	python -m benchmarks.reliability.torture --kills $(or $(N),10)

.venv/bench-pins: requirements-bench.txt .venv/pins
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@cp requirements-bench.txt .venv/bench-pins

bench: setup .venv/bench-pins ## measure speed on an idle machine: make bench DATA=folder WEIGHTS=folder
	@test -n "$(DATA)" -a -n "$(WEIGHTS)" || { echo "give DATA, a folder with one sub-folder per class, and WEIGHTS, one with mobilenet.h5 and xception.h5"; exit 1; }
	python -m benchmarks.speed.run --data "$(DATA)" --weights "$(WEIGHTS)" $(BENCH)

hostile: setup ## damaged and hostile files through the readers, about ten minutes: make hostile HOSTILE="--parts corpora"
	python -m benchmarks.hostile_files.run $(HOSTILE)

lock: ## pin the newest versions again, engines as in pyproject.toml (needs uv)
	rm -f requirements.txt requirements-gpu.txt requirements-bench.txt requirements-cluster.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --group dev --extra cpu --extra onnx pyproject.toml -o requirements.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --group dev --extra gpu --extra onnx pyproject.toml -o requirements-gpu.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --constraint requirements.txt benchmarks/requirements.in -o requirements-bench.txt
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["cluster"])' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --constraint requirements.txt - -o requirements-cluster.txt

clean: ## remove .venv, caches and known results; outputs and data stay
	rm -rf .venv known_results .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
