"""One of the processes that share a run: `torchrun -m activedpo_lib.runs.worker JOB`, started by
launch.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState

from activedpo_lib.runs.rounds import all_rounds
from activedpo_lib.schema import Params
from activedpo_lib.typed import build


def main(job: Path | str) -> None:
    """Run the job's rounds with the other processes; the first one speaks."""
    state = PartialState(cpu=not torch.cuda.is_available())
    values = json.loads(Path(job).read_text(encoding="utf-8"))
    params = build(Params, values["params"], "")
    if state.num_processes != params.processes:
        raise RuntimeError(
            f"expected {params.processes} processes, found {state.num_processes}: start this with "
            "launch.py"
        )

    def log(line: str) -> None:
        if state.is_main_process:
            print(line, flush=True)

    all_rounds(params, values["seed"], values["root"], None, log)
    state.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
