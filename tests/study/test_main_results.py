"""What notebooks 04 to 09 read, draw and keep."""

import json

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from activedpo_lib import load_params, load_task
from activedpo_lib.records import LabelledPair, Response
from activedpo_lib.store import write_json, write_table
from activedpo_lib.study.drawing import main_results, plots
from activedpo_lib.study.studies import place
from activedpo_lib.study.tables import truth_known

STRATEGIES = ("random", "apo", "activedpo")


def runs(task="tldr", model="llama", strategies=STRATEGIES, utility=1.0):
    rng = np.random.default_rng(len(task + model))
    rows = [
        {"task": task, "model": model, "strategy": name, "seed": seed, "round": t, "labels": 6 * t,
         "reward": rng.normal(), "win_rate": 0.5, "utility": utility, "length": 9.0,
         "distinct": 1.0, "cpu_seconds": 1.0, "seconds": 1.0, "seconds_train": 0.75,
         "seconds_select": 0.25}
        for name in strategies for seed in range(3) for t in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_results_are_read_cell_by_cell_with_activedpo_after_its_baselines(tmp_path):
    for task in ("webgpt", "tldr"):
        for which, names in (("activedpo", ("activedpo",)), ("baselines", ("random", "apo"))):
            table = runs(task, strategies=names)
            write_table(tmp_path / "tables" / f"{which}_{task}_llama.csv", table)
    write_table(tmp_path / "tables" / "world.csv", runs(strategies=("other",)))
    found = main_results.read_results(tmp_path)
    cells = found[["task", "strategy"]].drop_duplicates().to_numpy().tolist()
    assert cells == [[task, name] for task in ("tldr", "webgpt") for name in STRATEGIES]
    assert len(found) == 2 * len(runs())


def test_a_folder_without_runs_says_how_to_make_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="make figures"):
        main_results.read_results(tmp_path)


def test_titles_name_the_world_only_where_its_truth_is_known():
    assert "synthetic" in place(truth_known(runs()), "tiny")
    assert place(truth_known(runs(utility=np.nan)), "mine.yaml") == "profile mine.yaml"


def test_pairs_asked_shows_the_first_pairs_of_each_round_with_their_truth():
    params = load_params("smoke")
    task = load_task(params.task, params.evaluation.prompts, comparisons=False)
    prompt = task.prompts[0]
    texts = [row["completion"] for row in task.sft[:2]]
    sides = [Response(prompt.id, (1,), text) for text in texts]
    labelled = [LabelledPair(prompt, (1,), *sides, t) for t in (1, 1, 1, 2, 3)]
    found = main_results.pairs_asked(params, labelled, rounds=(1, 3), count=2)
    assert found["round"].tolist() == [1, 1, 3]
    assert found["u(chosen)"].tolist() == [task.utility(prompt, texts[0])] * 3
    assert found["u(rejected)"].tolist() == [task.utility(prompt, texts[1])] * 3


def test_progress_shows_the_truth_where_it_is_known_and_else_the_length():
    assert "utility" in main_results.progress(runs()).axes[2].get_ylabel()
    unknown = main_results.progress(runs(utility=np.nan))
    assert "length" in unknown.axes[2].get_ylabel()


def test_one_strategy_alone_is_drawn_with_each_of_its_seeds():
    alone = runs(strategies=("activedpo",))
    ax = main_results.progress(alone).axes[0]
    seeds = [line.get_ydata() for line in ax.lines if line.get_alpha() == 0.25]
    truth = [own["reward"].to_numpy() for _, own in alone.groupby("seed")]
    np.testing.assert_allclose(seeds, truth)
    assert not [
        line for line in main_results.progress(runs()).axes[0].lines if line.get_alpha() == 0.25
    ]


def test_labellers_are_two_lines_with_a_reward_of_their_own():
    table = pd.concat(
        [runs(strategies=("random",)).assign(labeller=name) for name in ("careful", "careless")]
    )
    figure = main_results.labellers(table)
    assert [len(ax.containers) for ax in figure.axes] == [2, 2, 2]
    assert "its own oracle" in figure.axes[0].get_ylabel()


def test_lengths_and_prompts_by_round_are_the_tables():
    _, (left, right) = plt.subplots(1, 2)
    picked = pd.DataFrame({"round": [1, 2], "length": [8.0, 12.0]})
    own = runs(strategies=("activedpo",))
    written = own[own["seed"] == 0]
    main_results.lengths_by_round(picked, written, left)
    assert [list(line.get_ydata()) for line in left.lines] == [[8, 12], [9, 9, 9]]
    rows = [("random", 1, 6, 5), ("random", 2, 6, 4), ("aplp", 1, 6, 6), ("aplp", 2, 6, 6)]
    asked = pd.DataFrame(rows, columns=["strategy", "round", "labels", "prompts"])
    main_results.prompts_by_round(asked, right)
    assert [list(line.get_ydata()) for line in right.lines] == [[5, 4], [6, 6], [6, 6]]


def test_figures_are_kept_with_table_times_and_the_runs_behind_them(tmp_path):
    plots.style()
    results = runs()
    digest = load_params("smoke", "tldr", "llama", "apo").digest()
    made = {"params": digest, "seed": 0, "code": "c", "commit": "x"}
    for seed in (0, 7):  # a seed that is in the table, and one that is not
        folder = tmp_path / "rounds/tldr/llama/apo" / f"seed{seed}-k" / "round0"
        write_json(folder / "provenance.json", made | {"seed": seed})

    def save(folder):
        figure = main_results.grid_figure(results, "reward", "Figure 1")
        figures = {"fig1_reward": figure}
        main_results.save_main_results(folder, figures, results, "smoke", tmp_path)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first, second = save(tmp_path / "a"), save(tmp_path / "b")
    assert first == second, "the same results give the same bytes"
    assert set(first) == {"fig1_reward.svg", "fig1_reward.csv", "timings.csv", "provenance.json"}
    assert b"seconds" in first["timings.csv"]
    assert b"seconds" not in first["fig1_reward.csv"]
    found = json.loads(first["provenance.json"])
    assert found["runs"] == [{"code": "c", "commit": "x", "runs": 1}]
    assert found["params"]["tldr/llama/apo"] == digest
    assert found["seed"] == [0, 1, 2]


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main_results.save_main_results("", {}, runs(), "smoke", tmp_path)
    assert not list(tmp_path.iterdir())
