"""The same picks from one process and from several, each with a slice of the pool
(torch.distributed, gloo).
"""

import numpy as np
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from activedpo_lib.method.design import select_greedy
from activedpo_lib.shards import ProcessGroup, SingleProcess, processes
from activedpo_lib.streams import stream

CASES = ("plain", "labelled", "ties", "groups")


def arguments(case):
    """(phi, keywords of select_greedy for the whole pool)."""
    rng = stream(0, "shards").numpy()
    phi = rng.standard_normal((101, 24)).astype(np.float32)
    phi[50:60] = phi[:10]  # equal pairs on different processes
    ties = stream(0, "ties").uniforms(range(101))
    more = {
        "plain": {},
        "labelled": {"past_phi": rng.standard_normal((30, 24))},
        "ties": {"ties": ties},
        "groups": {"ties": ties, "prompts": np.arange(101) // 3},
    }[case]
    return phi, more


def picks(case, start, end, group):
    phi, more = arguments(case)
    mine = {name: value if name == "past_phi" else value[start:end] for name, value in more.items()}
    return select_greedy(phi[start:end], 20, 0.5, processes=group, **mine)


def one_process(rank, count, folder):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count
    )
    cuts = (
        [0, 101] if count == 1 else [0, 7, 101] if count == 2 else [0, 0, 60, 101]
    )  # slices of any size, also none
    for case in CASES:
        found = picks(case, cuts[rank], cuts[rank + 1], processes())
        np.savez(f"{folder}/{case}-{rank}.npz", indices=found.indices, scores=found.scores)
    dist.destroy_process_group()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_processes_pick_what_one_picks(count, tmp_path):
    mp.spawn(one_process, (count, str(tmp_path)), nprocs=count)
    for case in CASES:
        truth = picks(case, 0, 101, SingleProcess())
        for rank in range(count):
            with np.load(tmp_path / f"{case}-{rank}.npz") as found:
                assert found["indices"].tolist() == truth.indices.tolist()
                np.testing.assert_allclose(found["scores"], truth.scores, rtol=1e-9)


def test_without_torch_distributed_a_process_is_alone():
    assert not isinstance(processes(), ProcessGroup)
