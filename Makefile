# A fresh machine needs Python 3.10 or newer and make; everything else goes into .venv.
PYTHON ?= python3
bin := .venv/bin

help:    ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: .venv/runtime    ## synthetic chest CTs, a trained model, a report, a prediction (minutes)
	rm -rf demo
	$(bin)/mediscope phantom demo/data --n 40 --seed 0 --difficulty 0
	$(bin)/mediscope check demo/data
	$(bin)/mediscope train demo/data --out demo/run --shape 64,64,32 --folds 5 --batch-size 4 --epochs-dcg 40 --epochs-diffusion 10
	$(bin)/mediscope phantom demo/new --n 2 --seed 1 --difficulty 0
	$(bin)/mediscope predict demo/run demo/new --out demo/prediction
	$(bin)/mediscope evaluate demo/run

test: .venv/dev    ## everything that must hold before a change goes in
	@$(bin)/python .ci/test.py

torture: .venv/dev    ## hostile files, leaks, crashes, twins, statistics, endurance, mutations: the long form (an hour)
	@$(bin)/python torture/leaks.py
	@$(bin)/python torture/hostile.py --long
	@$(bin)/python torture/crash.py --long
	@$(bin)/python torture/twins.py --long
	@$(bin)/python torture/promises.py --long
	@$(bin)/python torture/endurance.py --long
	@$(bin)/python torture/mutations.py --long

bench: .venv/bench    ## what every stage costs, beside what it is compared with (minutes; needs ../shared)
	@OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore $(bin)/python benchmarks/speed.py

readme: .venv/dev    ## README.md from nbs/index.ipynb
	@$(bin)/python .ci/readme.py

docs: .venv/docs    ## the documentation as a site, in site/
	@$(bin)/python docs/build.py

clean:    ## remove what make made
	rm -rf .venv demo site build dist *.egg-info

# One environment for all: torch is most of the minute that it takes. The install is editable,
# so a change of the code needs no other (pip warns of folders that are called mediscope, too);
# a stamp file marks each of its stages.
install = PYTHONWARNINGS=ignore $(bin)/pip install --quiet -c constraints.txt -e

.venv/runtime: setup.py settings.ini constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "mediscope needs Python 3.10 or newer: make PYTHON=…")'
	@echo 'installing into .venv, about a minute'
	@$(PYTHON) -m venv .venv
	@$(bin)/python -m pip install --quiet --upgrade pip
	@$(install) .
	@touch $@

.venv/dev: .venv/runtime
	@echo 'adding what tests need'
	@$(install) '.[dev]'
	@touch $@

.venv/bench: .venv/runtime
	@echo 'adding what the comparison needs'
	@$(install) '.[fast,baselines]'
	@touch $@

.venv/docs: .venv/runtime
	@echo 'adding what the documentation needs'
	@$(install) '.[docs]'
	@touch $@

.PHONY: help demo test torture bench readme docs clean
