"""`make plan`: what a batch will do and cost, before anything is spent."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from activedpo_lib.batch import arguments
from activedpo_lib.batch.batch import check
from activedpo_lib.batch.jobs import batch_jobs, grid_runs
from activedpo_lib.batch.quantities import byte_size, duration, two_digits
from activedpo_lib.params import load_grid
from activedpo_lib.schema import Params
from activedpo_lib.study import run_costs
from activedpo_lib.study.costs import ASSUMED_GPU, Sizes, selection_bytes
from activedpo_lib.study.notebooks import ALL, studies_of
from activedpo_lib.study.studies import load_study
from activedpo_lib.tasks.pools import NEUTRAL, labelled_share, scarcity_warning

# Operations a second; assumed, and said so.
ACHIEVED = {"a core of this laptop": 2e10, "an H100 at 40 % of its bfloat16 peak": ASSUMED_GPU}
Run = tuple[Params, int]  # a cell and its seed
Sized = list[tuple[Params, int, Sizes]]


def study_runs(profile: str, seeds: int, target: str = ALL) -> list[Run]:
    """Every (params, seed) of a target's studies, those of the grid among them, each once; Figure
    2's subsets count as one more.
    """
    found = {}
    for name in sorted(studies_of(target)):
        study = load_study(name, profile)
        own = range(study.first_seed, study.first_seed + seeds)
        for params in study.cells.values():
            found |= {(params.digest(), seed): (params, seed) for seed in own}
    return list(found.values())


def planned_runs(profile: str, seeds: int, target: str) -> list[Run]:
    """Every run of the batch, once."""
    every = grid_runs(profile, seeds) + study_runs(profile, seeds, target)
    return list({(params.digest(), seed): (params, seed) for params, seed in every}.values())


def sized(runs: list[Run]) -> Sized:
    """The runs with the cost model's Sizes of each."""
    known = {}
    for params, _ in runs:
        known.setdefault(params.digest("task", "model", "lora"), params)
    found = {key: run_costs.sizes(params) for key, params in known.items()}
    return [(params, seed, found[params.digest("task", "model", "lora")]) for params, seed in runs]


def once(runs: Sized, *parts: str, each_seed: bool) -> Sized:
    """The first run of each artifact: what is trained once for all runs that agree in `parts` of
    their params (and the seed), leaving out what only pool and labels see.
    """
    found = {}
    for params, seed, size in runs:
        task = dataclasses.replace(params.task, **NEUTRAL)
        oracle = dataclasses.replace(params.oracle, label="argmax", flip=0.0, after_first="oracle")
        key = dataclasses.replace(params, task=task, oracle=oracle).digest(*parts)
        found.setdefault((key, seed if each_seed else 0), (params, seed, size))
    return list(found.values())


def compute(runs: Sized) -> Counter[str]:
    """{part: FLOP} of all that the runs and what they share compute."""
    spent: Counter[str] = Counter()
    for params, _, size in runs:
        for part, rounds in run_costs.flops_by_part(params, size).items():
            spent[part] += sum(rounds)
        spent["oracle's scores"] += run_costs.scoring_flops(params, size)
    for params, _, size in once(runs, "task", "model", "sft", each_seed=True):
        spent["SFT"] += run_costs.sft_flops(params, size)
    for params, _, size in once(runs, "task", "oracle", each_seed=False):
        judges = 1 + (params.evaluation.evaluator == "trained")
        spent["oracle's training"] += judges * run_costs.oracle_training_flops(params, size)
        spent["pre-training"] += judges * run_costs.pretrain_flops(params, size)
    for params, _, size in once(runs, "task", "model", each_seed=False):
        spent["pre-training"] += run_costs.pretrain_flops(params, size)
    return +spent


def disk(runs: Sized) -> Counter[str]:
    """{what: bytes} that the runs keep: pi_SFT, adapters, features; "dropped": adapters of earlier
    rounds where the profile keeps the last alone.
    """
    kept: Counter[str] = Counter()
    for params, _, size in once(runs, "task", "model", "sft", each_seed=True):
        width = 2 if params.model.dtype == "bfloat16" else 4
        kept["pi_SFT"] += width * (size.weights + size.head)
    kept["adapters"], kept["dropped"] = adapter_bytes(runs)
    for params, _, _ in runs:
        kept["features"] += selection_bytes(
            params.rounds * params.batch_size, params.selection.dimensions
        )
    return kept


def adapter_bytes(runs: Sized) -> tuple[float, float]:
    """(bytes kept, bytes dropped) of the adapters of every round, round 0's too."""
    kept = dropped = 0.0
    for params, _, size in runs:
        last = params.adapters == "last"
        kept += 4 * size.adapter * (1 if last else params.rounds + 1)
        dropped += 4 * size.adapter * (params.rounds if last else 0)
    return kept, dropped


def plan(profile: str, seeds: int, target: str = "all") -> Iterator[str]:
    """Lines: jobs, runs, labels, compute by the cost model, disk; before anything is spent."""
    check(profile, read=False)
    waiting = [job.rule for job in batch_jobs(profile, seeds, target) if job.state != "done"]
    yield f"{len(waiting)} notebooks to run: {', '.join(sorted(set(waiting))) or 'all is done'}"
    runs = sized(planned_runs(profile, seeds, target))
    labels = sum(oracle_labels(params) for params, _, _ in runs)
    rounds = f"{runs[0][0].rounds} rounds{' or as the studies say' * (target != 'all')}"
    yield f"{len(runs)} runs of {rounds}; {labels:,} labels by the oracle"
    if warning := scarcity_warning(max((params for params, _, _ in runs), key=labelled_share)):
        yield f"  {warning}"
    yield from compute_lines(compute(runs))
    found = [text for params, _, _ in runs for text in run_costs.assumptions(params)]
    if found:  # each once
        yield f"  assumed, not read: {', '.join(dict.fromkeys(found))}"
    yield from disk_lines(disk(runs), max(pool_bytes(params) for params, _, _ in runs))


def oracle_labels(params: Params) -> int:
    """Labels that the oracle is asked for: where a run answers itself, the first round's alone."""
    asked = params.rounds if params.oracle.after_first == "oracle" else 1
    return asked * params.batch_size


def pool_bytes(params: Params) -> int:
    """Bytes of the features of a round's pool while it selects, both responses' differences."""
    pool = params.generation.prompts * params.generation.responses
    return 2 * selection_bytes(pool, params.selection.dimensions)


def compute_lines(spent: Counter[str]) -> Iterator[str]:
    """Lines: the whole compute, each part's share, and the time on two machines."""
    total = spent.total()
    yield f"compute of the whole batch, by the cost model: {two_digits(total)} FLOP"
    parts = [f"{part} {value / total:.0%}" for part, value in spent.most_common()]
    yield f"  {', '.join(parts)}"
    for what, speed in ACHIEVED.items():
        yield f"  {duration(total / speed)} on {what} (assumed {two_digits(speed)} FLOP/s)"
    yield (
        "  generating goes token by token: memory bounds it, so a GPU takes several times more; "
        "what notebooks measure beside their runs is left out"
    )


def disk_lines(kept: Counter[str], pool: int) -> Iterator[str]:
    """Lines: what stays on disk, and what is dropped."""
    parts = {part: count for part, count in kept.items() if part != "dropped"}
    told = ", ".join(f"{part} {byte_size(count)}" for part, count in parts.items())
    yield f"disk: {byte_size(sum(parts.values()))} kept: {told}"
    if kept["dropped"]:
        yield (
            f"  dropped: adapters of all rounds but the last, {byte_size(kept['dropped'])}; a "
            "study that asks for one trains it again from its labels"
        )
    yield f"  and {byte_size(pool)} of features while a round selects, then dropped"


@arguments.command
def main(given: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0, or 2 for bad parameters."""
    parser = arguments.Arguments(prog="python -m activedpo_lib.batch.plan", description=__doc__)
    arguments.add_batch(parser)
    asked = parser.parse_args(given)
    arguments.need_checkout()
    seeds = asked.seeds or len(load_grid(asked.profile).seeds)
    for line in plan(asked.profile, seeds, asked.target):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
