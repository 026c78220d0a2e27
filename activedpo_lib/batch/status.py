"""`make status`: how far a batch is, and where a failed job's traceback is."""

import sys
from collections.abc import Iterator, Sequence

from activedpo_lib.batch import arguments
from activedpo_lib.batch.engine import runs_folder
from activedpo_lib.batch.jobs import batch_jobs, grid_runs
from activedpo_lib.batch.quantities import duration
from activedpo_lib.params import load_grid
from activedpo_lib.store import HOME

STATES = ("done", "running", "failed", "waiting")


def status(profile: str, seeds: int, target: str = "all") -> Iterator[str]:
    """Lines: jobs by state, failed ones with where to look, rounds done, and the time left by the
    rounds' mean so far.
    """
    found = batch_jobs(profile, seeds, target)
    counts = {state: sum(job.state == state for job in found) for state in STATES}
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    yield f"{told} of {len(found)} notebooks"
    for job in found:
        if job.state == "failed":
            yield f"  failed: {job.rule}; the traceback is in {job.log}"
    seconds, left = rounds_so_far(profile, seeds)
    done = sum(map(len, seconds.values()))
    yield f"{done:,} of {done + sum(left.values()):,} rounds saved"
    if rest := seconds_left(seconds, left):
        workers = max(1, counts["running"])
        yield f"about {duration(rest / workers)} left with {workers} at a time"


def seconds_left(seconds: dict[str, list[float]], left: dict[str, int]) -> float:
    """Seconds that the missing rounds take, one at a time, by each strategy's mean so far; 0 where
    a strategy has none to go by.
    """
    missing = {name: count for name, count in left.items() if count}
    if not all(seconds[name] for name in missing):
        return 0.0
    return sum(count * sum(seconds[name]) / len(seconds[name]) for name, count in missing.items())


def rounds_so_far(profile: str, seeds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """({strategy: seconds of each saved round}, {strategy: rounds that are missing})."""
    from activedpo_lib.runs.checkpoints import is_finished, load_row, run_folder

    seconds, left = {}, {}
    for params, seed in grid_runs(profile, seeds):
        folder = run_folder(params, seed, HOME / runs_folder(profile))
        saved = [
            load_row(folder, t)["seconds"]
            for t in range(params.rounds + 1)
            if is_finished(folder, t)
        ]
        seconds.setdefault(params.strategy, []).extend(saved)
        left[params.strategy] = left.get(params.strategy, 0) + params.rounds + 1 - len(saved)
    return seconds, left


@arguments.command
def main(given: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0, or 2 for bad parameters."""
    parser = arguments.Arguments(prog="python -m activedpo_lib.batch.status", description=__doc__)
    arguments.add_batch(parser)
    asked = parser.parse_args(given)
    arguments.need_checkout()
    seeds = asked.seeds or len(load_grid(asked.profile).seeds)
    for line in status(asked.profile, seeds, asked.target):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
