"""`make plan` and `make status`: what a batch will do and cost, and how far it is."""

import argparse
import csv
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from activedpo_lib.batch.batch import check, snakemake
from activedpo_lib.params import ParamsError, load_grid, load_params
from activedpo_lib.store import HOME, locate, read_json, try_lock
from activedpo_lib.study.costs import ASSUMED_GPU, Sizes, round_flops, selection_bytes
from activedpo_lib.study.studies import load_study, study_names
from activedpo_lib.tasks import load_task
from activedpo_lib.tasks.files import DataError

ACHIEVED = {"a core of this laptop": 2e10, "an H100 at 40 % of its bfloat16 peak": ASSUMED_GPU}


@dataclass(frozen=True)
class Job:
    """One notebook of the batch: its log is the executed copy; state: done, running, failed or
    waiting.
    """

    rule: str
    log: str
    state: str


def jobs(profile, seeds, studies=False):
    """The batch's Jobs, as the engine sees them (a dry run: nothing is started)."""
    command = [
        *snakemake(profile, seeds, 1, target="all_figures" if studies else "all"),
        "--summary",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise ParamsError(f"the engine cannot plan {profile}: {told.stderr.strip()[-2000:]}")
    lines = told.stdout[told.stdout.index("output_file") :]
    found = {}
    for row in csv.DictReader(io.StringIO(lines), delimiter="\t"):
        log, output = row["log-file(s)"], row["output_file"]
        # The engine names a log once it is there; the figures are one job's, every table has its
        # own.
        job = log if log != "-" else output if "/tables/" in output else row["rule"]
        if row["rule"] != "-":
            found[job] = Job(row["rule"], log, _state(log, row["plan"]))
    return list(found.values())


def _state(log, plan):
    if _held(HOME / Path(log).with_suffix(".lock")):
        return "running"
    if plan.strip() == "no update":
        return "done"
    return "failed" if _has_error(HOME / log) else "waiting"


def _held(lock):
    if not lock.is_file():
        return False
    with open(lock) as file:
        return not try_lock(file)


def _has_error(notebook):
    if not notebook.is_file():
        return False
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return any(
        output["output_type"] == "error" for cell in cells for output in cell.get("outputs", [])
    )


def runs(profile, seeds):
    """Every (params, seed) of the profile's grid."""
    grid = load_grid(profile)
    cells = [
        load_params(profile, t, m, s)
        for t in grid.tasks
        for m in grid.models
        for s in grid.strategies
    ]
    return [(params, seed) for params in cells for seed in range(seeds)]


def sizes(params):
    """The cost model's Sizes for these params, from the model's config and the task's prompts
    (words, not yet tokens).

    Where a model or data of the hub are not at hand, from what the profile says of them.
    """
    shapes, width, vocabulary = _shapes(params.model)
    return Sizes(
        weights=_layers(params.model) * sum(a * b for a, b in shapes.values()),
        head=vocabulary * width,
        adapter=_layers(params.model)
        * sum(
            params.lora.rank * sum(shapes[name]) for name in params.lora.targets if name in shapes
        ),
        prompt=params.task.prompt_tokens or _mean_words(params),
        response=params.task.max_new_tokens,
    )


def _config(model):
    """The model's config.json where there is one on this machine."""
    folder = (
        HOME / "activedpo_lib/assets" / f"{model.family}-0"
        if model.base == "world"
        else locate(model.base)
    )
    return read_json(folder / "config.json") if (folder / "config.json").is_file() else {}


def _layers(model):
    return _config(model).get("num_hidden_layers", model.layers)


def _shapes(model):
    """({module: (inputs, outputs)} of one layer, width, vocabulary)."""
    config = _config(model)
    width, heads = (
        config.get("hidden_size", model.hidden_size),
        config.get("num_attention_heads", model.heads),
    )
    inner = config.get("intermediate_size", model.intermediate_size or 8 * width // 3)
    queries = heads * config.get("head_dim", width // heads)
    groups = config.get("num_key_value_heads", model.key_value_heads or heads)
    values = queries // heads * groups
    shapes = {
        "q_proj": (width, queries),
        "k_proj": (width, values),
        "v_proj": (width, values),
        "o_proj": (queries, width),
    }
    shapes |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), (width, inner))
    return shapes, width, config.get("vocab_size", model.vocabulary)


def _mean_words(params):
    task = load_task(params.task, params.evaluation.prompts, comparisons=False)
    return sum(len(p.text.split()) for p in task.prompts[:200]) / len(task.prompts[:200])


def flops_by_part(params, size):
    """{part: [FLOP of each round]} of one run, by the cost model: generate, measure, train,
    evaluate.
    """
    from activedpo_lib.method.strategies import (
        make_strategy,  # brings torch along, which status does not need
    )

    pool, evaluation, selection = params.generation, params.evaluation, params.selection
    again = params.batch_size if selection.past == "reembed" else 0
    needs = make_strategy(params.strategy, selection).needs
    parts = {"generate": [], "measure": [], "train": [], "evaluate": []}
    for t in range(params.rounds):
        generated, measured = round_flops(
            size, needs, pool.prompts, pool.responses, t * again, selection.entropy_samples
        )
        parts["generate"].append(generated)
        parts["measure"].append(measured)
        parts["train"].append(params.batch_size * size.dpo(params.dpo.epochs))
        parts["evaluate"].append(evaluation.prompts * size.generation(evaluation.responses))
    return parts


def study_runs(profile, seeds):
    """Every (params, seed) of the studies, those of the grid among them, each once; Figure 2's
    subsets count as one more.
    """
    found = {}
    for name in study_names():
        study = load_study(name, profile)
        for params in study.cells.values():
            found |= {(params.digest(), seed): (params, seed) for seed in range(seeds)}
    return list(found.values())


def plan(profile, seeds, studies=False):
    """Lines: jobs, runs, labels, compute by the cost model, disk; before anything is spent."""
    check(profile, read=False)
    every, waiting = (
        runs(profile, seeds),
        [job for job in jobs(profile, seeds, studies) if job.state != "done"],
    )
    if studies:
        own = {(params.digest(), seed) for params, seed in every}
        every += [
            (params, seed)
            for params, seed in study_runs(profile, seeds)
            if (params.digest(), seed) not in own
        ]
    labels = sum(params.rounds * params.batch_size for params, _ in every)
    known = {}
    for params, _ in every:
        if (cell := (params.task.name, params.model.name)) not in known:
            known[cell] = sizes(params)
    sized = [(params, known[params.task.name, params.model.name]) for params, _ in every]
    spent = [flops_by_part(params, size) for params, size in sized]
    total = sum(sum(map(sum, parts.values())) for parts in spent)
    share = sum(sum(parts["generate"]) for parts in spent) / total
    kept = {
        (p.task.name, p.model.name, seed): (p, known[p.task.name, p.model.name])
        for p, seed in every
    }
    sft = sum(
        (2 if p.model.dtype == "bfloat16" else 4) * (size.weights + size.head)
        for p, size in kept.values()
    )
    disk = sft + sum(
        4 * p.rounds * (size.adapter + p.batch_size * p.selection.dimensions) for p, size in sized
    )
    pool = max(
        selection_bytes(p.generation.prompts * p.generation.responses, p.selection.dimensions)
        for p, _ in every
    )
    rules = ", ".join(sorted({job.rule for job in waiting}))
    yield f"{len(waiting)} notebooks to run: {rules or 'all is done'}"
    rounds = f"{every[0][0].rounds} rounds{' or as the studies say' * studies}"
    yield f"{len(every)} runs of {rounds}; {labels:,} labels by the oracle"
    yield f"compute, by the cost model, SFT and oracle left out: {total:.2g} FLOP"
    for what, speed in ACHIEVED.items():
        yield f"  {total / speed / 3600:,.4f} h on {what} (assumed {speed:.2g} FLOP/s)"
    yield (
        f"  {share:.0%} of it generates, token by token: memory bounds that, so expect several "
        "times more on a GPU"
    )
    kept, while_selecting = f"{disk / 2**30:.2g} GiB", f"{2 * pool / 2**30:.2g} GiB"
    yield f"disk: {kept} kept, and {while_selecting} of features while a round selects"


def status(profile, seeds, studies=False):
    """Lines: jobs by state, failed ones with where to look, rounds done, and the time left by the
    rounds' mean so far.
    """
    found = jobs(profile, seeds, studies)
    counts = {
        state: sum(job.state == state for job in found)
        for state in ("done", "running", "failed", "waiting")
    }
    yield (
        ", ".join(f"{count} {state}" for state, count in counts.items())
        + f" of {len(found)} notebooks"
    )
    for job in found:
        if job.state == "failed":
            yield f"  failed: {job.rule}; the traceback is in {job.log}"
    seconds, left = rounds_so_far(profile, seeds)
    done = sum(map(len, seconds.values()))
    yield f"{done:,} of {done + sum(left.values()):,} rounds saved"
    if all(seconds[name] for name, missing in left.items() if missing) and any(left.values()):
        rest = sum(
            missing * sum(seconds[name]) / len(seconds[name])
            for name, missing in left.items()
            if missing
        )
        workers = max(1, counts["running"])
        yield f"about {rest / workers / 60:.1f} min left with {workers} at a time"


def rounds_so_far(profile, seeds):
    """({strategy: seconds of each saved round}, {strategy: rounds that are missing})."""
    from activedpo_lib.runs.checkpoints import is_finished, load_row, run_folder

    root = HOME / "runs" / Path(profile).stem
    seconds, left = {}, {}
    for params, seed in runs(profile, seeds):
        folder = run_folder(params, seed, root)
        saved = [
            load_row(folder, t)["seconds"]
            for t in range(params.rounds + 1)
            if is_finished(folder, t)
        ]
        seconds.setdefault(params.strategy, []).extend(saved)
        left[params.strategy] = left.get(params.strategy, 0) + params.rounds + 1 - len(saved)
    return seconds, left


def main(arguments=None):
    """The command line. Exit status 0, or 2 for bad parameters."""
    parser = argparse.ArgumentParser(
        prog="python -m activedpo_lib.batch.overview", description=__doc__
    )
    parser.add_argument("what", choices=["plan", "status"])
    parser.add_argument("profile", nargs="?", default="tiny")
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument(
        "--studies", action="store_true", help="every figure, not only Figures 1 and 5"
    )
    given = parser.parse_args(arguments)
    try:
        seeds = given.seeds or len(load_grid(given.profile).seeds)
        for line in {"plan": plan, "status": status}[given.what](
            given.profile, seeds, given.studies
        ):
            print(line, flush=True)
    except (ParamsError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
