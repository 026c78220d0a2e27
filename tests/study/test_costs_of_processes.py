"""The cost model of processes that share a run, against 1, 2, 4 and 8 of them: the work of each
falls as 1 / P. These are no real processes but their real shares, worked through here one after
the other, or as threads where they meet; real ones pick in test_shards.py.
"""

import pickle
import threading

import numpy as np
import pytest
from conftest import make_policy
from torch.utils.flop_counter import FlopCounterMode

from activedpo_lib.method.design import REFRESHED, select_greedy
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Candidates
from activedpo_lib.runs.meetings import joined_candidates
from activedpo_lib.shards import SingleProcess
from activedpo_lib.streams import stream
from activedpo_lib.study.costs import Sizes
from benchmarks.mapped import Counting

PROMPTS, RESPONSES, PROMPT, RESPONSE = 24, 3, 12, 5
PAIRS, DIMENSIONS, PICKS = 16_000, 64, 20


class Thread(SingleProcess):
    """One of `count` that share a pool as ProcessGroup does, and meet in this process's memory."""

    def __init__(self, rank, table):
        self.rank, self.count, self._table = rank, len(table.told), table

    def collect(self, items):
        return [item for part in self._table.meet(self.rank, items) for item in part]

    def largest(self, value):
        return max(self._table.meet(self.rank, value))

    def first(self, order, length, numbers):
        orders = self._table.meet(self.rank, np.inf if order is None else order)
        winner = int(np.argmin(orders))
        return self._table.meet(self.rank, numbers() if winner == self.rank else None)[winner]


class Table:
    """Where the threads meet: each puts down something, and takes what all have put down."""

    def __init__(self, count):
        self.told, self._all_here = [None] * count, threading.Barrier(count, timeout=600)

    def meet(self, rank, what):
        self.told[rank] = what
        self._all_here.wait()
        found = list(self.told)
        self._all_here.wait()  # nobody puts down the next before all have taken this
        return found


def of(rank, count):
    return Thread(rank, Table(count))


def flops(policy, part):
    """Torch's count of the gradients of these prompts' responses, all of one length: no padding."""
    asked = [tuple(range(3 + at, 3 + at + PROMPT)) for at in range(PROMPTS)][part]
    drawn = [tuple(range(40 + at, 40 + at + RESPONSE)) for at in range(RESPONSES)]
    prompts, responses = [x for x in asked for _ in drawn], [y for _ in asked for y in drawn]
    fold = make_projection("fold", 64, 0, gradient_shapes(policy))
    with FlopCounterMode(display=False) as counter:
        response_features(policy, prompts, responses, fold)
    return counter.get_total_flops()


def sizes(policy):
    head = policy.get_base_model().lm_head.weight.numel()
    adapter = sum(p.numel() for n, p in policy.named_parameters() if "lora_" in n)
    linear = sum(p.numel() for n, p in policy.named_parameters() if n.endswith("base_layer.weight"))
    return Sizes(linear, head, adapter, PROMPT, RESPONSE)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_gradients_of_a_process_are_its_share_of_all(count):
    policy = make_policy()
    model = PROMPTS * RESPONSES * sizes(policy).features()
    each = [flops(policy, of(rank, count).share(PROMPTS)) for rank in range(count)]
    assert each == pytest.approx([model / count] * count, rel=0.10)
    assert sum(each) == flops(policy, slice(None))  # nothing is done twice


def pool():
    rng = stream(0, "pool").numpy()
    phi = rng.standard_normal((PAIRS, DIMENSIONS)) * np.arange(1, DIMENSIONS + 1) ** -0.5
    return phi.astype(np.float32)


def picking(phi, count):
    """[(rows read in passes over the pool, and again, picks)] of `count` that share it."""
    table, found = Table(count), [None] * count

    def one(rank):
        group = Thread(rank, table)
        own = Counting(phi[group.share(len(phi))])
        picks = select_greedy(own, PICKS, 0.5, processes=group).indices.tolist()
        found[rank] = own.passed, own.again, picks

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_a_process_reads_its_share_of_the_pool_once_and_of_the_rows_read_again():
    """The pass falls as 1 / P to the row. What follows does so up to the 64 rows that a pick looks
    at wherever it is made: those the model counts for each process, undivided.
    """
    phi = pool()
    ((_, alone, truth),) = picking(phi, 1)
    for count in (1, 2, 4, 8):
        found = picking(phi, count)
        assert [passed for passed, _, _ in found] == [PAIRS // count] * count
        assert max(again for _, again, _ in found) <= alone / count + REFRESHED * PICKS
        assert all(picks == truth for _, _, picks in found)


class Told(SingleProcess):
    """The first of two, which keeps what it sends."""

    count = 2

    def collect(self, items):
        self.sent = items
        return items * 2


def test_what_goes_round_before_a_pick_is_names_and_labelled_features():
    """Some 26 bytes a pair and 4 d a labelled one (docs/how/paper_size.md); the pool stays."""
    prompts = [f"tldr-train-{at}" for at in range(60_000, 80_000)]
    sides = ((0, 1), (0, 2), (1, 2))
    names = tuple((prompt, *side) for prompt in prompts for side in sides)
    phi, past = np.zeros((len(names), 4), np.float32), np.zeros((50, 1024), np.float32)
    own = Candidates(names, np.repeat(np.arange(len(prompts)), 3), tuple(prompts), phi, past, 1.0)
    group = Told()
    joined = joined_candidates(own, group)
    assert len(joined.ids) == 2 * len(names)
    assert joined.phi is phi
    sent = len(pickle.dumps(group.sent)) - past.nbytes
    assert sent / len(names) == pytest.approx(26, abs=1)
