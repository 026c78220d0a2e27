# The jobs of one profile: each is a notebook run by the strict papermill wrapper. `make figures` runs this.
# The executed notebook is a log, never an output: a failed job's outputs are deleted, its log is kept.
import functools
import shlex
import sys
from glob import glob

sys.path.insert(0, workflow.basedir)
from activedpo_lib.batch.engine import figures_folder, runs_folder
from activedpo_lib.params import load_grid, load_params
from activedpo_lib.batch.gpus import cards
from activedpo_lib.store import content_key, source_digest
from activedpo_lib.study.notebooks import ALL, ALONE, NOTEBOOKS, figures_of
from activedpo_lib.study.studies import load_study

PROFILE = str(config.get("profile", "tiny"))
GRID = load_grid(PROFILE)
SEEDS = list(range(int(config.get("seeds") or len(GRID.seeds))))
BASELINES = [strategy for strategy in GRID.strategies if strategy != "activedpo"]
RUNS = str(runs_folder(PROFILE))
FIGURES = str(figures_folder(PROFILE))
@functools.cache
def cell(task, model):
    return load_params(PROFILE, task, model)


# No run depends on the study room, but what is read out of runs does. It is an input of every job whose figures or
# numbers that room makes: figures/, over_optimisation, world. Not of the tour, sft, oracle, activedpo and baselines:
# their tables are results of runs, and their pictures are a look at them. An edit of a plot would start a kernel for
# each cell of the grid, and then everything that reads those tables.
STUDY_CODE = sorted(glob("activedpo_lib/study/**/*.py", recursive=True))
KNOWN = cell(None, None).task.source == "world"  # only there is the truth known
# Cards that a job needs: one a process of its runs, where this machine has any or the profile asks a cluster for them.
CARDS = cell(None, None).processes if GRID.gpu or cards() else 0
EXECUTE = f"{shlex.quote(sys.executable)} -m activedpo_lib.batch.execute --gpus {CARDS} --jobs-per-gpu {GRID.jobs_per_gpu}"
# Notebooks run in notebooks/, so their paths start from there.
SHARED = f"-p profile {shlex.quote(PROFILE)} -p root {shlex.quote(f'../{RUNS}')}"
INTO = f"-p figures {shlex.quote(f'../{FIGURES}')}"


def depends_on(*parts):
    """A hash of the parameters, the user's files and the library's code: a change of any reruns the job."""
    return lambda wildcards: content_key(cell(getattr(wildcards, "task", None), getattr(wildcards, "model", None)), *parts)


rule all:
    input:
        f"{FIGURES}/fig1_reward.csv",
        f"{FIGURES}/fig5_win_rate.csv",
        f"{RUNS}/tables/tour.csv",
        f"{RUNS}/tables/world.csv",
        f"{RUNS}/tables/the_pool_seen.csv",
        [f"{RUNS}/tables/over_optimisation.csv", f"{RUNS}/tables/be_the_oracle.csv"] if KNOWN else [],


# Figure 1 has the room as a line wherever the studies are made; `make figures` alone does not make them.
ROOM = [f"{FIGURES}/fig16_room.csv"] if config.get("studies") else []


def study_key(names):
    """A hash of the parameters of every run of these studies, and of the library's code."""
    digests = [load_study(name, PROFILE).digests() for name in names]
    return lambda wildcards: f"{content_key(cell(None, None))} {digests}"


rule all_figures:
    input:
        rules.all.input,
        [f"{FIGURES}/{figure}.csv" for figure in figures_of(ALL, KNOWN)],


for target in ALONE:
    rule:
        name: target
        input: [f"{FIGURES}/{figure}.csv" for figure in figures_of(target, KNOWN)]


# A notebook with a target of its own is alone at the end: it runs as many runs at once as there are cores, but a card has one owner.
AT_ONCE = workflow.cores if config.get("here") and not CARDS and cell(None, None).processes == 1 else 1
# The longest start first, or one core waits for it at the end; but before all others what they read.
READ = {figure for notebook in NOTEBOOKS.values() for figure in notebook.reads}
RUN = {name: given for name, given in NOTEBOOKS.items() if KNOWN or not given.known}
for notebook, given in RUN.items():
    rule:
        name: notebook[3:]
        input:
            f"notebooks/{notebook}.ipynb",
            STUDY_CODE,
            [f"{RUNS}/tables/{which}_{task}_{GRID.models[-1]}.csv" for which in ("activedpo", "baselines") for task in GRID.tasks],
            [f"{FIGURES}/{figure}.csv" for figure in given.reads],
            [f"{RUNS}/tables/baselines_{task}_{model}.csv" for task in GRID.tasks for model in GRID.models if given.grid],
        output: [f"{FIGURES}/{figure}.csv" for figure in given.figures]
        priority: 500 if READ & set(given.figures) else given.minutes
        log: f"{RUNS}/notebooks/{notebook}.ipynb"
        params:
            key=study_key(given.studies),
        resources: gpu=CARDS
        threads: 1 if given.target == ALL else AT_ONCE
        # The engine would give each of these runs as many threads.
        shell: f"OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ACTIVEDPO_RUNS_AT_ONCE={{threads}} {EXECUTE} {{input[0]:q}} {{log:q}} {SHARED} -p seeds '{SEEDS}' {INTO}"


rule world:
    input: "notebooks/00_world.ipynb", STUDY_CODE
    output: f"{RUNS}/tables/world.csv"
    log: f"{RUNS}/notebooks/00_world.ipynb"
    params: source_digest()
    shell: f"{EXECUTE} {{input[0]:q}} {{log:q}} -p table ../{{output:q}}"


rule tour:
    input: "notebooks/01_tour.ipynb"
    output: f"{RUNS}/tables/tour.csv"
    log: f"{RUNS}/notebooks/01_tour.ipynb"
    params: depends_on()
    resources: gpu=CARDS
    shell: f"{EXECUTE} {{input:q}} {{log:q}} {SHARED} -p table ../{{output:q}}"


rule oracle:
    input: "notebooks/03_oracle.ipynb"
    output: f"{RUNS}/tables/oracle_{{task}}.csv"
    log: f"{RUNS}/notebooks/03_oracle_{{task}}.ipynb"
    params: depends_on("task", "model", "oracle")
    priority: 1000
    resources: gpu=CARDS
    shell: f"{EXECUTE} {{input:q}} {{log:q}} {SHARED} -p task {{wildcards.task}} -p table ../{{output:q}}"


# Notebook 24's figure, without the sliders that need a kernel.
rule the_pool_seen:
    input:
        "notebooks/24_the_pool_seen.ipynb",
        STUDY_CODE,
        f"{RUNS}/tables/activedpo_{GRID.tasks[0]}_{GRID.models[0]}.csv",
    output: f"{RUNS}/tables/the_pool_seen.csv"
    log: f"{RUNS}/notebooks/24_the_pool_seen.ipynb"
    params: depends_on()
    resources: gpu=CARDS
    shell: f"{EXECUTE} {{input[0]:q}} {{log:q}} {SHARED} -p live False -p table ../{{output:q}}"


# Notebook 23 with the built-in human in the person's place.
rule be_the_oracle:
    input:
        "notebooks/23_be_the_oracle.ipynb",
        STUDY_CODE,
        f"{RUNS}/tables/oracle_{GRID.tasks[0]}.csv",
        f"{RUNS}/tables/sft_{GRID.tasks[0]}_{GRID.models[0]}.csv",
    output: f"{RUNS}/tables/be_the_oracle.csv"
    log: f"{RUNS}/notebooks/23_be_the_oracle.ipynb"
    params: depends_on()
    resources: gpu=CARDS
    shell:
        f"{EXECUTE} {{input[0]:q}} {{log:q}} {SHARED} -p labeller 'built-in human'"
        f" -p answers {shlex.quote(f'{RUNS}/answers.sqlite')} -p table ../{{output:q}}"


rule sft:
    input: "notebooks/02_sft.ipynb"
    output: f"{RUNS}/tables/sft_{{task}}_{{model}}.csv"
    log: f"{RUNS}/notebooks/02_sft_{{task}}_{{model}}.ipynb"
    params: depends_on("task", "model", "sft")
    priority: 1000
    resources: gpu=CARDS
    shell:
        f"{EXECUTE} {{input:q}} {{log:q}} {SHARED} -p task {{wildcards.task}} -p model {{wildcards.model}}"
        f" -p seeds '{SEEDS}' -p table ../{{output:q}}"


rule activedpo:
    input:
        "notebooks/04_activedpo_rounds.ipynb",
        f"{RUNS}/tables/oracle_{{task}}.csv",
        f"{RUNS}/tables/sft_{{task}}_{{model}}.csv",
    output: f"{RUNS}/tables/activedpo_{{task}}_{{model}}.csv"
    priority: 500
    log: f"{RUNS}/notebooks/04_activedpo_{{task}}_{{model}}.ipynb"
    params: depends_on()
    resources: gpu=CARDS
    shell:
        f"{EXECUTE} {{input[0]:q}} {{log:q}} {SHARED} -p task {{wildcards.task}} -p model {{wildcards.model}}"
        f" -p seeds '{SEEDS}' -p table ../{{output:q}}"


rule baselines:
    input:
        "notebooks/05_baselines.ipynb",
        f"{RUNS}/tables/oracle_{{task}}.csv",
        f"{RUNS}/tables/sft_{{task}}_{{model}}.csv",
    output: f"{RUNS}/tables/baselines_{{task}}_{{model}}.csv"
    log: f"{RUNS}/notebooks/05_baselines_{{task}}_{{model}}.ipynb"
    params: depends_on()
    priority: 500
    resources: gpu=CARDS
    shell:
        f"{EXECUTE} {{input[0]:q}} {{log:q}} {SHARED} -p task {{wildcards.task}} -p model {{wildcards.model}}"
        f" -p strategies '{BASELINES}' -p seeds '{SEEDS}' -p table ../{{output:q}}"


rule over_optimisation:
    input:
        "notebooks/09_over_optimisation.ipynb",
        STUDY_CODE,
        f"{RUNS}/tables/baselines_{GRID.tasks[0]}_{GRID.models[0]}.csv",
    output: f"{RUNS}/tables/over_optimisation.csv"
    log: f"{RUNS}/notebooks/09_over_optimisation.ipynb"
    priority: 600  # a minute long: before what takes seconds, or one core waits for it at the end
    params: depends_on()
    resources: gpu=CARDS
    shell: f"{EXECUTE} {{input[0]:q}} {{log:q}} {SHARED} -p seeds '{SEEDS[:3]}' -p table ../{{output:q}}"


rule main_results:
    input:
        "notebooks/08_main_results.ipynb",
        STUDY_CODE,
        ROOM,
        expand(
            f"{RUNS}/tables/{{which}}_{{task}}_{{model}}.csv",
            which=["activedpo", "baselines"], task=GRID.tasks, model=GRID.models,
        ),
    output:
        f"{FIGURES}/fig1_reward.csv",
        f"{FIGURES}/fig5_win_rate.csv",
    priority: 500
    log: f"{RUNS}/notebooks/08_main_results.ipynb"
    shell: f"{EXECUTE} {{input[0]:q}} {{log:q}} {SHARED} {INTO}"
