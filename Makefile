# A fresh machine needs Python 3.10 or newer and make; everything else goes into .venv.
PYTHON ?= python3
bin := .venv/bin

help:    ## this list
	@awk -F ':.*## ' '/^[a-z ]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

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

notebook: .venv/dev    ## one notebook, run from top to bottom, with its outputs: make notebook NB=03_diffusion
	@folder=$$(mktemp -d) && cd $$folder && PYTHONWARNINGS=ignore OMP_NUM_THREADS=1 MEDISCOPE_CACHE=$$folder/cache MEDISCOPE_SHARED=$(CURDIR)/../shared \
		$(CURDIR)/$(bin)/papermill --log-level ERROR $(CURDIR)/nbs/$(NB).ipynb out.ipynb && mv out.ipynb $(CURDIR)/nbs/$(NB).ipynb; done=$$?; rm -r $$folder; exit $$done
	@$(bin)/nbdev_export && $(bin)/nbdev_clean

torture: .venv/dev .venv/docs    ## hostile files and names, leaks, crashes, twins, statistics, endurance, mutations: the long form (an hour)
	@lost=; for part in leaks names 'hostile --long' 'crash --long' 'twins --long' 'promises --long' 'endurance --long' 'mutations --long'; do \
		set -- $$part; $(bin)/python torture/$$1.py $$2 || lost="$$lost $$1"; done; test -z "$$lost" || { echo "LOST:$$lost"; exit 1; }

bench: .venv/bench    ## what every stage costs, beside what it is compared with (minutes; needs ../shared)
	@OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore $(bin)/python benchmarks/speed.py

oldest newest: .venv/dev .venv/tools    ## the notebooks with the lowest, or newest, versions that settings.ini allows (minutes)
	@$(bin)/python .ci/test.py $@

audit: .venv/tools    ## known faults of what constraints.txt names (asks PyPI)
	@$(bin)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r constraints.txt

# A version that stands there stays; to have a newer one, delete its lines first. The CPU builds of torch lie on other
# indexes: the hashes of those that are used (Linux, x86-64) are written in by hand, and stay as long as its version.
constraints: .venv/tools    ## constraints.txt, after a change of settings.ini
	@sed -n 's/^[a-z_]*requirements = //p' settings.ini | tr ' ' '\n' | $(bin)/uv pip compile --quiet --universal --python-version 3.10 \
		--only-binary :all: --generate-hashes --no-annotate --custom-compile-command 'make constraints' - -o constraints.txt

readme: .venv/dev    ## README.md from nbs/index.ipynb
	@$(bin)/python .ci/readme.py

docs: .venv/docs    ## the documentation as a site, in site/
	@$(bin)/python docs/build.py

clean:    ## remove what make made
	rm -rf .venv demo site build dist *.egg-info

# One environment for all: torch is most of the minute that it takes. The install is editable, so a change of the code
# needs no other (pip warns of folders that are called mediscope, too); a stamp file marks each of its stages.
# Whatever pip takes must have a hash in constraints.txt, and be a wheel, so that nothing is run to install it.
# First comes pip itself, as an older one finds no hashes there. Then torch: its build for the CPU would lose to the
# large one if only that one's hash were known beforehand, so the build is chosen without, and held against the hashes.
pip = $(bin)/python -m pip install --quiet --only-binary :all:
pinned = sed -n '/^$(1)==/,/[^\\]$$/p' constraints.txt
needs = sed -n 's/^$(1)requirements = //p' settings.ini | xargs $(pip) -c constraints.txt

.venv/pip: setup.py settings.ini constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "mediscope needs Python 3.10 or newer: make PYTHON=…")'
	@$(PYTHON) -m venv .venv
	@$(call pinned,pip) | $(pip) -r /dev/stdin
	@touch $@

.venv/runtime: .venv/pip
	@echo 'installing into .venv, about a minute'
	@$(call pinned,torch) | sed -n 's/^\(torch==[^ ]*\).*/\1/p' | xargs $(bin)/pip download --quiet --no-deps --only-binary :all: --dest .venv/torch
	@$(call pinned,torch) | $(pip) --no-deps --no-index --find-links .venv/torch -r /dev/stdin
	@rm -r .venv/torch
	@$(call needs) setuptools
	@PYTHONWARNINGS=ignore $(bin)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/runtime
	@echo 'adding what tests need'
	@$(call needs,dev_)
	@touch $@

.venv/bench: .venv/runtime
	@echo 'adding what the comparison needs'
	@$(call needs,fast_)
	@$(call needs,baselines_)
	@touch $@

.venv/docs: .venv/runtime
	@echo 'adding what the documentation needs'
	@$(call needs,docs_)
	@touch $@

.venv/tools: .venv/pip
	@echo 'adding what versions are looked after with'
	@$(call needs,tools_)
	@touch $@

.PHONY: help demo test torture bench oldest newest audit constraints readme docs clean
