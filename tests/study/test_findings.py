"""A finding's words and numbers are the tables': changed tables change them, one seed claims
nothing.
"""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.method.formulas import interval
from activedpo_lib.study import wording
from activedpo_lib.study.findings import COMMITTED, finding, sentences
from activedpo_lib.study.sentences import SENTENCES


@pytest.fixture
def one_seed(tmp_path):
    """The committed tables as a run with one seed, and of the last task alone, leaves them."""
    for path in COMMITTED.glob("*.csv"):
        table = pd.read_csv(path)
        if "seed" in table:
            table = table[table["seed"] == table["seed"].min()]
        if "task" in table and "round" in table and path.stem != "timings":
            table = table[table["task"] == table["task"].iloc[-1]]
        table.to_csv(tmp_path / path.name, index=False)
    return tmp_path


@pytest.fixture
def as_smoke(tmp_path):
    """The committed tables as the smoke pipeline leaves them: one task, one model, two seeds, two
    rounds, no truth beside the oracle; and the record of it.
    """
    for path in COMMITTED.glob("*.csv"):
        table = pd.read_csv(path)
        for column in ("task", "model"):
            if column in table:
                table = table[table[column] == table[column].iloc[0]]
        if "seed" in table and table["seed"].nunique() > 1:
            table = table[table["seed"] < table["seed"].min() + 2]
        if "round" in table:
            table = table[table["round"] <= 2]
        absent = [c for c in ("utility", "topic", "true gap") if c in table]
        table.assign(**dict.fromkeys(absent, np.nan)).to_csv(tmp_path / path.name, index=False)
    for path in COMMITTED.glob("*.json"):
        record = json.loads(path.read_text()) | {"profile": "smoke", "seed": [0, 1]}
        (tmp_path / path.name).write_text(json.dumps(record))
    return tmp_path


@pytest.mark.parametrize("notebook", sorted(SENTENCES))
def test_a_small_run_has_its_finding_beneath_the_committed_one(notebook, as_smoke):
    found = finding(notebook, as_smoke)._repr_markdown_()
    committed, own = found.split("*Your figures: ")[0], found.split("*The committed figures: ")[1]
    assert sentences(notebook) in committed
    text, source = own.split("\n\n", 1)[1].rsplit("\n\n", 1)
    assert text.strip() == sentences(notebook, as_smoke).strip()
    assert re.search(r"built-in world .*, profile smoke, 2 seeds, commit \w+", source)
    for bad in (r"\bnan\b", r"\binf\b", r"\bNone\b(?! of)", "One seed", r"\{", "  ", r"\(\)"):
        assert not re.search(bad, text), bad
    assert not re.search(r"[:(] *\n\n(?!-)", text), "a line that announces a list has one"


@pytest.mark.parametrize("notebook", sorted(SENTENCES))
def test_a_finding_is_short_sentences_and_lists(notebook):
    """A student reads it: no sentence of prose holds more than one number with its interval."""
    for line in sentences(notebook).splitlines():
        if not line.startswith("- "):
            assert len(line.split()) <= 30, line
            assert line.count("±") <= 1, line
        assert not line or line.endswith((".", ":", "**")) or line.startswith("- "), line


@pytest.mark.parametrize("notebook", sorted(SENTENCES))
def test_every_finding_reads_from_the_committed_tables_and_says_whose_they_are(notebook):
    found = finding(notebook)._repr_markdown_()
    assert not re.search(r"\bnan\b", found)
    assert "-0.00 " not in found
    assert re.search(r"built-in world.*profile tiny, \d+ seeds, commit \w+", found)


@pytest.mark.parametrize("notebook", sorted(SENTENCES))
def test_one_seed_has_no_interval_and_is_not_judged(notebook, one_seed):
    found = sentences(notebook, one_seed)
    assert found
    assert "±" not in found
    assert not re.search(r"\bnan\b", found)
    assert not re.search(r"(Above|Below|Level with) \w", found)


def test_the_verdict_follows_the_table(tmp_path):
    table = pd.read_csv(COMMITTED / "fig7_v_ablation.csv")
    kept = table["variant"] == "kept features"
    for shift, word, sign in ((5.0, "Above", r"\+"), (-5.0, "Below", "-")):
        changed = table.assign(reward=table["reward"] + shift * kept)
        changed.to_csv(tmp_path / "fig7_v_ablation.csv", index=False)
        found = sentences("14_v_ablation", tmp_path)
        assert re.search(rf"{word} the paper's V: .*kept features \({sign}[45]\.", found)


def test_the_numbers_are_those_of_a_slow_count():
    table = pd.read_csv(COMMITTED / "fig13_all_strategies.csv")
    cell = (table["task"] == "webgpt") & (table["model"] == "gemma") & (table["round"] == 6)
    last = table[cell].pivot(index="seed", columns="strategy", values="reward")
    mean, half = interval((last["margin"] - last["random"]).to_numpy())
    assert f"margin ({mean:+.2f} ± {half:.2f})" in sentences("19_all_strategies")


def test_yours_stand_beneath_the_committed_ones_with_their_own_source(tmp_path):
    shutil.copy(COMMITTED / "fig7_v_ablation.csv", tmp_path)
    record = json.loads((COMMITTED / "fig7_v_ablation.json").read_text())
    record |= {"profile": "mine", "seed": [0, 1], "commit": "abc", "where": "profile mine"}
    (tmp_path / "fig7_v_ablation.json").write_text(json.dumps(record))
    found = finding("14_v_ablation", tmp_path)._repr_markdown_()
    ours, yours = found.split("The committed figures:")
    assert ours.count("below the paper's V") == 1
    assert "Your figures: profile mine, 2 seeds, commit abc" in yours
    assert finding("14_v_ablation", COMMITTED) == finding("14_v_ablation")
    assert finding("14_v_ablation", "") == finding("14_v_ablation")


def test_missing_tables_and_unknown_notebooks_are_named(tmp_path):
    none_yet = finding("14_v_ablation", committed=tmp_path)._repr_markdown_()
    assert "none yet, fig7_v_ablation.csv is not in" in none_yet
    with pytest.raises(ValueError, match="no finding for '12'"):
        finding("12")


def test_cells_are_placed_by_their_own_intervals():
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.normal(size=6)
    cells = {"a": 1 + noise, "b": -1 + noise, "c": noise - noise.mean()}
    found = wording.placed(cells, "Random")
    order = [found.index(word) for word in ("Above Random: a", "Below Random: b", "Level with")]
    assert order == sorted(order)
    assert wording.stands(cells, "Reward (logits)", "Random").splitlines() == [
        "Reward (logits), difference to Random:",
        "",
        *(f"- {line}." for line in found.removesuffix(".").split(". ")),
    ]
    assert wording.counted(cells, 1, "cell") == "1 of 3 cells"
    assert wording.counted({"a": cells["a"]}, -1, "cell") == "none of 1 cell"
    assert wording.counted({"a": cells["a"]}, 1, "cell") == "the one cell"
    assert wording.counted({"a": cells["a"], "d": cells["a"]}, 1, "way") == "both ways"
    assert wording.amount(np.array([0.5, 0.7]), 2) == "0.60 ± 1.27"
    assert wording.number(np.array([0.5, 0.7])) == "+0.60 ± 1.27"
    assert wording.number(np.array([-0.001, -0.001])) == "+0.00 ± 0.00"
    assert wording.number(np.array([0.5])) == "+0.50 (one seed: no interval)"
    assert wording.joined(["a", "b", "c"]) == "a, b and c"
