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

# Each step goes on where it stopped. Twice the expert corrects the policy on the states it ran into; last, the head alone
# learns on from all that the encoder says.
MOST := shape clutter conveyor shape clutter conveyor shape clutter conveyor \
	occluded occluded turntable turntable small disturbed switched
AGAIN := static shape clutter conveyor shape clutter switched static conveyor turntable small disturbed occluded conveyor
ALL := shape clutter small conveyor occluded static turntable switched disturbed
LARGE := small shape clutter small static conveyor small occluded turntable small disturbed switched
SHOWN := runs/static runs/mix runs/native runs/fast
OWN := runs/own-1 runs/own-1-fast
COLLECT := $(PY) experiments/collect.py --per-shard 10
train: setup
	@echo "collect, train, collect on the policy's own states, train on, twice: about 2 h 40 min on 2 CPU cores, 40 GB of disk"
	$(COLLECT) --out runs/static --episodes 1200
	$(COLLECT) --out runs/mix --tasks $(MOST) --episodes 2560
	$(COLLECT) --out runs/native --tasks $(ALL) --episodes 180 --res 640x360 --seed 3000000
	$(COLLECT) --out runs/fast --tasks conveyor --speed 0.11 --episodes 160 --seed 5000000
	$(PY) experiments/train.py --data $(SHOWN) --out runs/policy-1 --joint-steps 6000
	$(COLLECT) --out runs/own-1 --tasks $(AGAIN) --policy runs/policy-1 --episodes 700 --seed 2000000
	$(COLLECT) --out runs/own-1-fast --tasks conveyor --speed 0.11 --policy runs/policy-1 --episodes 80 --seed 5500000
	$(PY) experiments/train.py --data $(SHOWN) $(OWN) $(OWN) --out runs/policy-2 \
		--start-from runs/policy-1 --vision-steps 0 --joint-steps 3800 --lr 8e-4 --seed 1
	$(COLLECT) --out runs/own-2 --tasks $(AGAIN) --policy runs/policy-2 --episodes 200 --seed 6000000
	$(COLLECT) --out runs/own-2-native --tasks $(LARGE) --policy runs/policy-2 --episodes 160 --res 640x360 --every 4 \
		--seed 7000000
	$(PY) experiments/train_head.py --policy runs/policy-2 --data $(SHOWN) $(OWN) runs/own-2 runs/own-2-native \
		--out runs/policy --steps 10000

bench: setup
	$(PY) experiments/bench.py $(ARGS)

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
