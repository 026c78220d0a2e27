import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from activedpo_lib.study import tables
from activedpo_lib.study.drawing import main_results, plots


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    rows = []
    for strategy, gain in (("random", 0.0), ("activedpo", 1.0)):
        for seed in range(5):
            for t in range(3):
                shared = np.random.default_rng(seed).standard_normal()
                value = shared + gain * t + 0.01 * rng.standard_normal()
                rows.append(
                    {
                        "task": "t",
                        "model": "m",
                        "strategy": strategy,
                        "seed": seed,
                        "round": t,
                        "labels": 10 * t,
                        "reward": value,
                        "seconds_train": 1.0,
                        "seconds_select": 0.5,
                    }
                )
    return pd.DataFrame(rows)


def test_the_difference_to_is_paired_by_seed(table):
    found = plots.difference_to(table, "reward")
    assert set(found["strategy"]) == {"activedpo"}
    np.testing.assert_allclose(found.groupby("round")["reward"].mean(), [0, 1, 2], atol=0.05)
    assert (
        found[found["round"] == 2]["reward"].std()
        < 0.1
        < table[table["round"] == 2]["reward"].std()
    )


def test_the_difference_does_not_depend_on_the_rows_order(table):
    shuffled = table.sample(frac=1, random_state=0)
    columns = ["strategy", "seed", "round"]
    first, second = (
        plots.difference_to(t, "reward").sort_values(columns)["reward"] for t in (table, shuffled)
    )
    np.testing.assert_allclose(first, second)


def test_curves_draw_the_mean_and_every_figure_has_its_intervals(table):
    _, ax = plt.subplots()
    plots.curves(table, "reward", ax)
    line = ax.lines[0].get_ydata() if len(ax.lines[0].get_ydata()) == 3 else ax.lines[1].get_ydata()
    truth = table[table["strategy"] == "random"].groupby("round")["reward"].mean()
    np.testing.assert_allclose(line, truth)
    assert len(ax.containers) == 2
    figure = main_results.grid_figure(table, "reward", "Figure")
    assert len(figure.axes) == 2
    assert "5 seeds" in figure.get_suptitle()
    plt.close("all")


def test_a_random_difference_missing_a_seed_is_an_error(table):
    lacking = table[(table["strategy"] != "random") | (table["seed"] != 3)]
    with pytest.raises(KeyError):
        plots.difference_to(lacking, "reward")


def test_verdicts_follow_the_interval(table):
    found = tables.verdicts(plots.difference_to(table, "reward"), "reward").iloc[0]
    assert found["last round: verdict"] == "above Random"
    level = table.assign(reward=np.random.default_rng(1).standard_normal(len(table)))
    assert (
        tables.verdicts(plots.difference_to(level, "reward"), "reward").iloc[0][
            "last round: verdict"
        ]
        == "level"
    )
    one = table[table["seed"] == 0]
    assert (
        tables.verdicts(plots.difference_to(one, "reward"), "reward").iloc[0]["last round: verdict"]
        == "one seed"
    )


def test_strategies_have_one_colour_each_and_unknown_ones_too():
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)
    assert plots.colour("mine") == plots.colour("mine")
    assert plots.colour("mine") in plots.OTHERS


def test_time_by_part_adds_up(table):
    fig, ax = plt.subplots()
    main_results.time_by_part(table, ax)
    assert sum(bar.get_width() for bars in ax.containers for bar in [bars[0]]) == pytest.approx(
        3 * 1.5
    )
    plt.close(fig)
