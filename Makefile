# Every target sets up what it needs first (setup.sh), and skips that when nothing changed.
# ARGS is passed on:           make run ARGS="--mode async --episodes 50"
# PYTHON chooses the Python:   make test PYTHON=python3.12

ARGS ?=
PYTHON ?=
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests openpi-client suites test-suites lerobot act run check test style types tests fast-tests train bench format clean

help:
	@echo "make run     20 episodes of each mode with three views at 224x224: success table and videos"
	@echo "make check   lint, types and the fast tests: a minute and a half"
	@echo "make test    lint, types and all tests, also those in .venv-suites: ten to thirteen minutes"
	@echo "make train   train the policy that ships"
	@echo "make bench   compare speed with its targets: rendering, clock, workers, other loops (a few minutes)"
	@echo "make suites  .venv-suites: the program beside MetaWorld, gymnasium-robotics, PushT, ALOHA and robosuite (3 GB)"
	@echo "make lerobot .venv-lerobot: LeRobot beside MetaWorld and the simulator (3 GB)"
	@echo "make act     train LeRobot's ACT on MetaWorld's scripts; ARGS=\"--out runs/act\" trains what ships anew"
	@echo "make setup   only the virtual environment and the OpenGL libraries"
	@echo "make format  format the code the way 'make check' wants it"
	@echo "make clean   remove the virtual environment and caches; runs/ stays"
	@echo "ARGS passes options on: make run ARGS=\"--views 5 --mode async\""

setup:
	@PYTHON="$(PYTHON)" bash setup.sh

suites:
	@PYTHON="$(PYTHON)" bash setup.sh suites

lerobot:
	@PYTHON="$(PYTHON)" bash setup.sh lerobot

act: lerobot
	.venv-lerobot/bin/python -W ignore experiments/lerobot_act.py $(ARGS)

run: setup
	$(PY) experiments/run.py --views 3 --res 224 $(ARGS)

setup-tests:
	@PYTHON="$(PYTHON)" bash setup.sh test

# Not into .venv itself, whose NumPy is newer than it allows. Tests drive our server with it, and are skipped without.
openpi-client: setup-tests
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --upgrade --target .venv/openpi-client openpi-client==0.1.2

# Types and tests run side by side; tests run on every core.
check test test-suites: export OMP_NUM_THREADS ?= 1
check test test-suites: export LP_NUM_THREADS ?= 0
check: style
	@$(MAKE) --no-print-directory -j2 types fast-tests

test: style
	@$(MAKE) --no-print-directory -j2 types tests
	@$(MAKE) --no-print-directory test-suites

style: setup-tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types:
	$(PY) -m mypy

tests:
	$(PY) -m pytest -n logical --dist loadgroup $(ARGS)

# What needs other people's environments: skipped above, and run here.
test-suites: suites
	.venv-suites/bin/python -m pytest -n logical --dist loadgroup -m suites $(ARGS)

fast-tests:
	$(PY) -m pytest -n logical --dist loadgroup -m "not (slow or gl or browser or ray or gpu)" $(ARGS)

# Each step continues where it stopped. Twice, the expert corrects the policy in the states that the policy ran into;
# at last the head alone is trained further, on the encoder's finished features.
MOST := shape clutter conveyor shape clutter conveyor shape clutter conveyor \
	occluded occluded turntable turntable small disturbed switched
AGAIN := static shape clutter conveyor shape clutter switched static conveyor turntable small disturbed occluded conveyor
ALL := shape clutter small conveyor occluded static turntable switched disturbed
LARGE := small shape clutter small static conveyor small occluded turntable small disturbed switched
SHOWN := runs/static runs/mix runs/native runs/fast
OWN := runs/own-1 runs/own-1-fast
COLLECT := $(PY) experiments/collect.py --per-shard 10
train: setup
	@echo "collect, train, then twice collect in the policy's own states and train further:" \
		"about 2 h 40 min on 2 CPU cores, 40 GB of disk"
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

format: setup-tests
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf .venv .venv-suites .venv-lerobot .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
