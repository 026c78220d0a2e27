"""The cosine of a batch's push with the direction that raises the reward: against sums written out,
on the rounds of a finished run, and without knowledge.
"""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.records import Past
from activedpo_lib.runs import steps
from activedpo_lib.study.drawing import scarcity_plots
from activedpo_lib.study.probing.picks import picks_of
from activedpo_lib.study.probing.probes import rounds_again
from activedpo_lib.study.scarcity import alignment as module
from activedpo_lib.study.scarcity.alignment import (
    ASKED,
    alignment,
    alignment_table,
    goal_of,
    mean_alignments,
)
from activedpo_lib.study.scarcity.sentences import the_room
from activedpo_lib.study.studies import Study

RANDOM = np.random.default_rng(0)
PHI = frozenset({"phi"})


def test_the_cosine_is_the_one_of_sums_written_out():
    phi, gaps, goal = RANDOM.normal(size=(12, 5)), RANDOM.normal(size=12), RANDOM.normal(size=5)
    push = np.zeros(5)
    for row in (3, 7, 8):
        push += (1 if gaps[row] > 0 else -1) * phi[row]
    by_hand = sum(push * goal) / np.sqrt(sum(push**2) * sum(goal**2))
    rows = np.array([3, 7, 8])
    assert alignment(phi, gaps, rows, goal) == pytest.approx(by_hand)
    assert alignment(3 * phi, 5 * gaps, rows, 7 * goal) == pytest.approx(by_hand)
    assert alignment(phi, gaps, np.arange(12), np.sign(gaps) @ phi) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    found = Study.open("room", "smoke", [0], tmp_path_factory.mktemp("alignment"))
    found.run(log=lambda _: None)
    return found


@pytest.fixture(scope="module")
def table(study):
    return alignment_table(study)


def of(study, chooser):
    return next(run for _, run in study.runs() if run.params.chooser == chooser)


def test_every_round_of_randoms_runs_is_looked_at_by_all(study, table):
    cells = [own for own in study.cells.values() if own.chooser == "random"]
    assert len(table) == len(cells) * cells[0].rounds * (len(ASKED) + 2)
    assert len(mean_alignments(table)) == len(cells) * (len(ASKED) + 2)
    pd.testing.assert_frame_equal(alignment_table(study), table)


def test_full_knowledge_is_aligned_as_its_own_picks_were(study, table):
    run = of(study, "full knowledge: matching")
    first = next(rounds_again(run, {1}, PHI))
    gaps, goal = steps.true_gaps(run, first.pool), goal_of(run, first)
    found = alignment(first.candidates.phi, gaps, picks_of(run, first), goal)
    said = table.set_index(["round", "strategy"])["alignment"][1, "full knowledge: matching"]
    assert found == pytest.approx(said, abs=1e-3)  # the first pool is Random's too


def test_the_direction_is_of_prompts_that_no_pool_holds(study, monkeypatch):
    run = of(study, "random")
    first = next(rounds_again(run, {1}, PHI))
    seen = []

    def remembered(pool, past, reader):
        seen.extend(prompt.id for prompt in pool.prompts)
        assert past == Past()
        return real(pool, past, reader)

    real = module.target_column
    monkeypatch.setattr(module, "target_column", remembered)
    goal_of(run, first)
    assert seen
    assert not {prompt.id for prompt in run.task.prompts} & set(seen)


def test_gaps_that_mean_nothing_align_with_nothing(study, monkeypatch):
    """Full knowledge of rewards drawn at random pushes along no direction that held-out prompts
    share: no cosine is had by construction.
    """
    drawn = np.random.default_rng(3)
    monkeypatch.setattr(module, "true_gaps", lambda run, pool: drawn.normal(size=len(pool.pairs)))
    found = pd.concat([alignment_table(study) for _ in range(4)])
    known = found[found["strategy"].str.startswith("full knowledge")]["alignment"]
    assert abs(known.mean()) < 3 * known.std() / len(known) ** 0.5


def test_what_strategies_see_holds_the_labels_before(study, monkeypatch):
    run, kept = of(study, "random"), []

    def spying(name, numbers):
        strategy = real(name, numbers)

        def select(found, size, *, stream):
            kept.append(len(found.past_phi))
            return strategy.select(found, size, stream=stream)

        return strategy._replace(select=select)

    real = module.make_strategy
    monkeypatch.setattr(module, "make_strategy", spying)
    alignment_table(study)
    assert set(kept) == {t * run.params.batch_size for t in range(run.params.rounds)}


def test_the_finding_compares_each_with_random_by_seed(tmp_path, table):
    rows = [
        {"task": "tldr", "model": "llama", "strategy": name, "seed": seed, "round": t,
         "labels": 10 * t, "reward": t * value, "utility": t * value}
        for name, value in (("random", 0.1), ("full knowledge: matching", 0.5))
        for seed in (0, 1, 2) for t in (0, 1)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "fig16_room.csv", index=False)
    assert "push" not in the_room(tmp_path)
    more = pd.concat(table.assign(seed=seed) for seed in range(3))
    more.loc[more["strategy"] == "k_center", "alignment"] = 2.0
    more.to_csv(tmp_path / "fig16_room_alignment.csv", index=False)
    said = the_room(tmp_path)
    assert "Cosine of a batch's push" in said
    assert said[said.index("Cosine") :].split("Above Random: ")[1].startswith("k-center (+")


def test_the_picture_has_a_curve_for_every_cell(table):
    names = [f"task {at}" for at in range(6)]
    means = mean_alignments(pd.concat(table.assign(task=name) for name in names))
    ax = scarcity_plots.alignments(means, "a title")
    assert [text.get_text().split(",")[0] for text in ax.get_legend().get_texts()] == names
    assert ax.get_title() == "a title"
    assert "ActiveDPO" in [label.get_text() for label in ax.get_yticklabels()]
