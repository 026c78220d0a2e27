"""The README's computed parts are what the committed tables say; one rule makes every ruling."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.store import HOME
from activedpo_lib.study import claims, earlier


def test_the_readme_says_what_the_committed_tables_say():
    readme = (HOME / "README.md").read_text(encoding="utf-8")
    table = claims.markdown(claims.all_claims())
    for part in (table, claims.caption(), claims.in_short(), claims.found(), claims.beyond()):
        assert part in readme


@pytest.mark.parametrize(
    ("found", "ruling"),
    [
        ([1, 1], "holds"),
        ([1, 0], "mixed"),
        ([1, -1], "does not"),
        ([0, -1], "does not"),
        ([0, 0], "not established"),
        ([0], "not established"),
    ],
)
def test_a_ruling_follows_one_rule(found, ruling):
    assert claims.ruling(found) == ruling
    assert claims.ruling(found[::-1]) == ruling


def test_every_row_of_the_table_follows_the_rule():
    """Against the rule written out again, for every pattern of three cells."""
    for found in itertools.product((-1, 0, 1), repeat=3):
        truth = "not established"
        if min(found) == 1:
            truth = "holds"
        elif min(found) == -1:
            truth = "does not"
        elif max(found) == 1:
            truth = "mixed"
        assert claims.ruling(found) == truth
    rulings = {row[3] for row in claims.all_claims()}
    assert rulings <= {"holds", "does not", "mixed", "not established"}


def test_no_effect_can_be_refuted_and_never_established():
    rng = np.random.default_rng(0)
    up, level = 1 + 0.1 * rng.normal(size=8), rng.normal(size=8)
    cells = {"up": up, "down": -up, "level": level - level.mean()}
    assert claims.supports(cells, 0) == [-1, -1, 0]
    assert claims.supports(cells, 1) == [1, -1, 0]
    assert claims.supports(cells, -1) == [-1, 1, 0]
    assert claims.ruling(claims.supports({"level": cells["level"]}, 0)) == "not established"


def test_a_change_of_the_tables_changes_the_ruling(tmp_path):
    table = pd.read_csv(HOME / "figures" / "fig1_reward.csv")
    better = table.assign(reward=table["reward"] + 9.0 * (table["strategy"] == "activedpo"))
    for name in ("fig1_reward", "fig5_win_rate"):
        better.to_csv(tmp_path / f"{name}.csv", index=False)
    assert next(claims.main_claims(tmp_path))[3] == "holds"
    one = better[better["seed"] == 0]
    one.to_csv(tmp_path / "fig1_reward.csv", index=False)
    assert next(claims.main_claims(tmp_path))[3] == "not established"


def test_what_the_readme_says_where_is_there():
    readme = (HOME / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\[`(\w+)`\]\((activedpo_lib/[\w/]+\.py)\)", readme)
    assert len(named) == 5
    for function, path in named:
        assert f"\ndef {function}(" in (HOME / path).read_text(encoding="utf-8"), path


def test_the_first_laboratory_is_told_beside_this_one():
    found, now = earlier.then_and_now(), claims.all_claims()
    assert list(found.iloc[:, 0]) == [claim for claim, *_ in now]
    assert list(found["now"]) == [f"{ruling}: {measured}" for _, _, measured, ruling in now]


def test_a_verdict_that_moved_has_a_reason_and_no_other_has():
    for row in earlier.then_and_now().itertuples(index=False):
        claim, then, now, why = row
        moved = then.split(":")[0] != now.split(":")[0]
        assert moved == bool(earlier.THEN[claim].why), claim
        assert why == (earlier.THEN[claim].why or "it did not")
