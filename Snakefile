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


# The studies: each notebook runs its own, and makes these figures. What two share is run once, by whoever comes first.
# The minutes it takes on the built-in world, 3 seeds: the longest start first, or one core waits for it at the end.
STUDIES = {
    "06_label_elasticity": (["elasticity"], ["fig15_label_elasticity"], 3),
    "07_room": (["room"], ["fig16_room"], 6),
    "10_model_dependence": (["clusters"], ["fig2_model_dependence"], 4),
    "11_normalisation": (["normalisation"], ["fig3_normalisation"], 5),
    "12_projection": (["projection"], ["fig4_projection", "fig11_projection_quality"], 4),
    "14_v_ablation": (["v_ablation"], ["fig7_v_ablation"], 2),
    "15_costs": (["probed"], ["fig8_costs"], 1),
    "16_forgetting": (["probed"], ["fig9_forgetting"], 3),
    "17_what_was_picked": (["probed"], ["fig10_picks"], 2),
    "18_when_does_it_pay": (["pays", "ridge"], ["fig12_when_it_pays"], 15),
    "19_all_strategies": (["strategies", "equal_kl"], ["fig13_all_strategies", "fig20_equal_kl"], 46),
    "20_is_it_the_labels": (["controls", "equal_kl", "longer"], ["fig17_controls", "fig21_longer"], 24),
    "21_replay": (["replay"], ["fig14_replay"], 5),
    "22_decisions": (["decisions"], ["decisions"], 6),
}
if KNOWN:
    STUDIES["13_proposition_1"] = (["proposition"], ["fig6_proposition_1", "fig6_proposition_1_beyond"], 3)
# What a notebook draws or tells of another's figure: the room, what half the labels cost, a run's seconds. They start before all others.
READS = {
    "07_room": ["fig15_label_elasticity"],
    "15_costs": ["fig1_reward"],
    "18_when_does_it_pay": ["fig16_room"],
    "19_all_strategies": ["fig16_room"],
    "25_fresh_seeds": ["fig16_room"],
}
# With targets of their own: `make fresh`, `make scale` and `make parts`.
ALONE = {
    "25_fresh_seeds": (["confirm", "confirm_truth", "confirm_equal_kl", "confirm_own_step", "equal_kl"], ["fig18_fresh_seeds", "fig22_own_step"], 12),
    "26_model_size": (["scale_tuning", "scale"], ["fig19_model_size"], 240),
    "27_which_part": (["parts", "more_controls"], ["fig23_parts", "fig24_more_controls"], 15),
}
# Figure 1 has the room as a line wherever the studies are made; `make figures` alone does not make them.
ROOM = [f"{FIGURES}/fig16_room.csv"] if config.get("studies") else []


def study_key(names):
    """A hash of the parameters of every run of these studies, and of the library's code."""
    digests = [load_study(name, PROFILE).digests() for name in names]
    return lambda wildcards: f"{content_key(cell(None, None))} {digests}"


rule all_figures:
    input:
        rules.all.input,
        [f"{FIGURES}/{figure}.csv" for _, figures, _ in STUDIES.values() for figure in figures],


rule fresh:
    input: f"{FIGURES}/fig18_fresh_seeds.csv"


rule scale:
    input: f"{FIGURES}/fig19_model_size.csv"


rule parts:
    input: f"{FIGURES}/fig23_parts.csv"


for notebook, (names, figures, minutes) in sorted((STUDIES | ALONE).items()):
    rule:
        name: notebook[3:]
        input:
            f"notebooks/{notebook}.ipynb",
            STUDY_CODE,
            [f"{RUNS}/tables/{which}_{task}_{GRID.models[-1]}.csv" for which in ("activedpo", "baselines") for task in GRID.tasks],
            [f"{FIGURES}/{figure}.csv" for figure in READS.get(notebook, [])],
            [f"{RUNS}/tables/baselines_{task}_{model}.csv" for task in GRID.tasks for model in GRID.models if notebook == "07_room"],
        output: [f"{FIGURES}/{figure}.csv" for figure in figures]
        priority: 500 if set(figures) & {own for read in READS.values() for own in read} else minutes
        log: f"{RUNS}/notebooks/{notebook}.ipynb"
        params:
            key=study_key(names),
        resources: gpu=CARDS
        shell: f"{EXECUTE} {{input[0]:q}} {{log:q}} {SHARED} -p seeds '{SEEDS}' {INTO}"


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
