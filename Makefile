# `make run` and `make test` set everything up first (setup.sh) and skip that when nothing changed.
# ARGS is passed on:           make run ARGS="--mode async --episodes 50"
# PYTHON chooses the Python:   make test PYTHON=python3.12

ARGS ?=
PYTHON ?=
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run test train bench format clean

help:
	@echo "make run     20 episodes of each mode with three views at 224x224: success table and videos"
	@echo "make test    lint, types and tests"
	@echo "make train   train the shipped policy"
	@echo "make bench   speed held against its targets: drawing, clock, workers, peers (a few minutes)"
	@echo "make setup   only the virtual environment and the OpenGL libraries"
	@echo "make format  format the code as 'make test' wants it"
	@echo "make clean   remove the virtual environment and caches; runs/ stays"
	@echo "options are passed on: make run ARGS=\"--views 5 --mode async\""

setup:
	@PYTHON="$(PYTHON)" bash setup.sh

run: setup
	$(PY) experiments/run.py --views 3 --res 224 $(ARGS)

test: export OMP_NUM_THREADS ?= 1
test: export LP_NUM_THREADS ?= 0
test: setup
	@bash setup.sh chromium
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest $(ARGS)

# Each step goes on where it stopped. The last two let the expert correct the policy on the states it ran into.
MOST := shape clutter conveyor shape clutter conveyor shape clutter conveyor \
	occluded occluded turntable turntable small disturbed switched
AGAIN := static shape clutter conveyor turntable small switched disturbed occluded conveyor shape clutter static turntable
ALL := shape clutter small conveyor occluded static turntable switched disturbed
train: setup
	@echo "collect, train, collect on the policy's own states, train on: about 2 hours on 2 CPU cores, 24 GB of disk"
	$(PY) experiments/collect.py --out runs/static --episodes 1200
	$(PY) experiments/collect.py --out runs/mix --tasks $(MOST) --episodes 2560
	$(PY) experiments/collect.py --out runs/native --tasks $(ALL) --episodes 180 --res 640x360 --seed 3000000
	$(PY) experiments/train.py --data runs/static runs/mix runs/native --out runs/policy-first
	$(PY) experiments/collect.py --out runs/dagger --tasks $(AGAIN) --policy runs/policy-first --episodes 280 --per-shard 10 \
		--seed 2000000
	$(PY) experiments/train.py --data runs/static runs/mix runs/native runs/dagger runs/dagger --out runs/policy \
		--start-from runs/policy-first --vision-steps 0 --joint-steps 1700 --lr 5e-4

bench: setup
	$(PY) experiments/bench.py $(ARGS)

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
