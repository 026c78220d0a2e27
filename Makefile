# figures · all-figures · test · site · bench · lab; each first makes .venv from requirements.lock, once.
PYTHON  ?= $(shell command -v python3.11 || command -v python3)
PROFILE ?= tiny
SEEDS   ?=
CORES   ?=
UV      := uv==0.13.9
BIN     := .venv/bin
STAMP   := .venv/made-$(shell cat pyproject.toml requirements.lock | cksum | tr ' ' '-')
# uv reads no pip settings; where pip has a local folder of wheels, uv should look there too.
LINKS   := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))

# Where this is set, as in many containers, every kernel would compile torch and transformers anew: 9 s of its time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: figures all-figures strategies fresh scale parts plan status compare reference verify test test-slow test-slurm bench bench-slow audit site lab lint bases lock clean

# Given or not is the command's to see: an empty one is left out, a bad one is its error.
BATCH = '$(PROFILE)' $(if $(SEEDS),--seeds '$(SEEDS)')

figures: $(STAMP)
	@$(BIN)/python -m activedpo_lib.batch.batch $(BATCH) $(if $(CORES),--cores '$(CORES)') $(if $(CLUSTER),--cluster '$(CLUSTER)')

all-figures: $(STAMP)
	@$(BIN)/python -m activedpo_lib.batch.batch $(BATCH) --studies $(if $(CORES),--cores '$(CORES)') $(if $(CLUSTER),--cluster '$(CLUSTER)')

# Figures 13 and 20, every strategy; 18 and 22, seeds that no other figure has; 19, models of four sizes; 23 and 24, parts of a criterion.
strategies fresh scale parts: $(STAMP)
	@$(BIN)/python -m activedpo_lib.batch.batch $(BATCH) --$@ $(if $(CORES),--cores '$(CORES)') $(if $(CLUSTER),--cluster '$(CLUSTER)')

# Two processes; what is slow and rarely breaks is in test-slow.
test: lint
	@$(BIN)/python -m pytest -n 2 --dist loadfile --durations=10

test-slow: $(STAMP)
	@$(BIN)/python -m pytest -m 'slow or studies' --durations=10

test-slurm: $(STAMP)
	@$(BIN)/python -m pytest -m slurm

plan status: $(STAMP)
	@$(BIN)/python -m activedpo_lib.batch.$@ $(BATCH) $(if $(STUDIES),--studies) $(if $(TARGET),--$(TARGET))

compare: $(STAMP)
	@$(BIN)/python -m activedpo_lib.batch.reference compare

# For maintainers, after `make all-figures SEEDS=10`: writes figures/, the committed reference.
reference: $(STAMP)
	@$(BIN)/python -m activedpo_lib.batch.reference renew $(if $(SEEDS),--seeds '$(SEEDS)')

verify: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m activedpo_lib.batch.verify '$(PROFILE)'

audit: $(STAMP)
	@$(BIN)/uv tool run pip-audit==2.10.1 --no-deps --disable-pip -r requirements.lock

bench: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

bench-slow: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks mapped_large
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks mapped_shared

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/nbstripout --verify --extra-keys "metadata.papermill cell.metadata.papermill metadata.language_info" notebooks/*.ipynb

site: $(STAMP)
	@$(BIN)/python -m activedpo_lib.site.build '$(PROFILE)'

# Without the question whether to fetch news: it covers what one works on, and news would come from outside.
NEWS = @jupyterlab/apputils-extension:announcements
lab: $(STAMP)
	@mkdir -p .venv/etc/jupyter/labconfig
	@echo '{"disabledExtensions": {"$(NEWS)": true}}' > .venv/etc/jupyter/labconfig/page_config.json
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=$(CURDIR) --LabApp.default_url=/lab/tree/notebooks/01_tour.ipynb

bases: $(STAMP)
	rm -rf activedpo_lib/assets/llama-0 activedpo_lib/assets/gemma-0 activedpo_lib/assets/llama-1
	OMP_NUM_THREADS=1 $(BIN)/python -m activedpo_lib.batch.bases

# What is pinned stays as it is; to renew a package, take its line out of requirements.lock first.
lock: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11 $(LINKS) -c requirements.lock \
	  --no-emit-index-url --no-annotate --no-header -q > .venv/requirements.lock
	sed 's/+cpu$$//' .venv/requirements.lock > requirements.lock

clean:
	rm -rf runs .snakemake

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v == (3, 11) else f"error: Python 3.11 is needed, found {v[0]}.{v[1]}; set PYTHON=/path/to/python3.11")'
	@echo "setting up .venv (once; some 20 s, most of it the download of torch)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check $(UV)
	@$(BIN)/uv pip install -q --python $(BIN)/python $(LINKS) -r requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python $(LINKS) --no-deps -e .
	@rm -f .venv/made-*
	@touch $@
