"""Which accelerator a job gets: two jobs never share a card unless the profile says so."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from activedpo_lib.batch.arguments import BadArgument
from activedpo_lib.store import try_lock


def cards() -> list[str]:
    """The names of this machine's accelerators, as CUDA_VISIBLE_DEVICES wants them; none without
    nvidia-smi.
    """
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [
            name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name not in ("", "-1")
        ]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(at) for at, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]


@contextlib.contextmanager
def hold_gpus(folder: Path | str, count: int = 1, jobs_per_card: int = 1) -> Iterator[list[str]]:
    """Hold `count` cards inside the block and name them in CUDA_VISIBLE_DEVICES; wait while all are
    taken.

    Steps aside where there is none, and on a cluster (SLURM_JOB_ID), whose scheduler deals out its
    own. The locks are files in `folder` and die with the process. Yields the names. Raises
    BadArgument where the machine has fewer cards.
    """
    names = cards()
    if not names or not count or "SLURM_JOB_ID" in os.environ:
        yield []
        return
    if count > len(names):
        raise BadArgument(
            f"a run in {count} processes needs {count} GPUs, this machine has {len(names)}; lower "
            "processes"
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as locks:
        taken = _take(folder, names, count, jobs_per_card, locks)
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
        try:
            yield taken
        finally:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            if before is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


def _take(
    folder: Path | str,
    names: list[str],
    count: int,
    jobs_per_card: int,
    locks: contextlib.ExitStack,
) -> list[str]:
    """All or nothing, so that two jobs never wait for each other's cards."""
    while True:
        with contextlib.ExitStack() as tried:
            found = []
            for name in names:
                if len(found) < count and _lock(folder, name, jobs_per_card, tried):
                    found.append(name)
            if len(found) == count:
                locks.enter_context(tried.pop_all())
                return found
        time.sleep(0.5)


def _lock(folder: Path | str, name: str, jobs_per_card: int, held: contextlib.ExitStack) -> bool:
    for place in range(jobs_per_card):
        file = open(Path(folder) / f"gpu-{name}-{place}.lock", "w")  # noqa: SIM115 - held until the job ends
        if try_lock(file):
            held.enter_context(file)
            return True
        file.close()
    return False
