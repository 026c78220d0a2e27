"""Several processes inside one run, started by torchrun; TRL's trainers find each other through
accelerate.

`accelerate launch` itself starts torchrun where there are GPUs, but a single process where there
are none.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch


class ProcessesFailed(RuntimeError):
    """One of a run's processes ended with an error, or was killed."""


def launch(params, seed, root, log):
    """All rounds of one run, shared by `params.processes` processes (activedpo_lib.runs.worker);
    their lines go to `say`.

    Raises ProcessesFailed with the last lines said; finished rounds stay, and the next call goes on
    after them.
    """
    with tempfile.TemporaryDirectory(prefix="activedpo-") as folder:
        job = Path(folder) / "job.json"
        values = {
            "params": dataclasses.asdict(params),
            "seed": seed,
            "root": str(Path(root).resolve()),
        }
        job.write_text(json.dumps(values), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            str(params.processes),
            "-m",
            "activedpo_lib.runs.worker",
            str(job),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        if torch.cuda.device_count() < params.processes:
            environment["ACCELERATE_USE_CPU"] = "1"
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as run:
            last = []
            try:
                for line in run.stdout:
                    last = [*last, line][-200:]
                    if line.startswith(
                        "["
                    ):  # a worker's line of progress; the libraries' notices are for errors only
                        log(line.rstrip())
            except BaseException:
                run.terminate()
                raise
    if run.returncode:
        theirs = [
            line for line in last if line.startswith("[rank")
        ] or last  # not the starter's own traceback
        raise ProcessesFailed(
            f"a run in {params.processes} processes ended with {run.returncode}:\n"
            + "".join(theirs[:60])
        )
