"""The cosine of a batch's push with the direction that raises the reward: against its formula, and
on the rounds of a finished run.
"""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.method.features import mean_square_norm
from activedpo_lib.runs.steps import true_gaps
from activedpo_lib.study.probing.picks import picks_of
from activedpo_lib.study.probing.probes import rounds_again
from activedpo_lib.study.scarcity.alignment import (
    ASKED,
    alignment,
    alignment_table,
    mean_alignments,
)
from activedpo_lib.study.studies import Study

RANDOM = np.random.default_rng(0)


def by_hand(phi, gaps, rows):
    """Sums written out, pair by pair."""
    push, goal = np.zeros(phi.shape[1]), np.zeros(phi.shape[1])
    for row in rows:
        push += (1 if gaps[row] > 0 else -1) * phi[row]
    for row in range(len(phi)):
        goal += gaps[row] * phi[row]
    return sum(push * goal) / np.sqrt(sum(push**2) * sum(goal**2))


def test_the_cosine_is_the_one_of_sums_written_out():
    phi, gaps = RANDOM.normal(size=(12, 5)), RANDOM.normal(size=12)
    rows = np.array([3, 7, 8])
    assert alignment(phi, gaps, rows) == pytest.approx(by_hand(phi, gaps, rows))
    even = np.sign(gaps)  # all pairs, all gaps of one size: the push is the goal
    assert alignment(phi, even, np.arange(12)) == pytest.approx(1.0)
    assert alignment(phi, even, rows) == pytest.approx(alignment(3 * phi, 5 * even, rows))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    found = Study.open("room", "smoke", [0], tmp_path_factory.mktemp("alignment"))
    found.run(log=lambda _: None)
    return found


def test_every_round_of_randoms_runs_is_looked_at_by_all(study):
    table = alignment_table(study)
    cells = [cell for cell, params in study.cells.items() if params.chooser == "random"]
    rounds = study.cells[cells[0]].rounds
    assert len(table) == len(cells) * rounds * (len(ASKED) + 2)
    assert table["alignment"].between(-1, 1).all()
    means = mean_alignments(table)
    assert len(means) == len(cells) * (len(ASKED) + 2)
    overall = means.groupby(level="strategy").mean()
    assert overall.idxmax() == "full knowledge: matching"
    pd.testing.assert_frame_equal(alignment_table(study), table)  # repeats


def test_full_knowledge_is_aligned_as_its_own_picks_were(study):
    """A ceiling's run: its first round's picks have the alignment that the table says."""
    table = alignment_table(study).set_index(["task", "model", "round", "strategy"])["alignment"]
    for cell, run in study.runs():
        if run.params.chooser == "full knowledge: matching":
            first = next(rounds_again(run, {1}, frozenset({"phi"})))
            phi, gaps = first.candidates.phi, true_gaps(run, first.pool)
            assert mean_square_norm(phi) > 0
            found = alignment(phi, gaps, picks_of(run, first))
            said = table[cell["task"], cell["model"], 1, "full knowledge: matching"]
            assert found == pytest.approx(said, abs=1e-3)  # ties are broken by another stream
