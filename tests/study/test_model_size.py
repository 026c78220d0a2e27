"""Figure 19: bases of other sizes, what their pools look like, and what is said of them."""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.batch.execute import execute
from activedpo_lib.method import models
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.runs.artifacts import made, oracle_folder
from activedpo_lib.runs.pretrained import ASSETS, base_folder
from activedpo_lib.store import HOME
from activedpo_lib.study.probing import by_size, model_size
from activedpo_lib.study.studies import Study, load_study

NARROW = {"model.hidden_size": 48, "model.heads": 2, "model.pretrain_rows": 60}
KNOWN = "full knowledge: matching"


def silent(line):
    pass


def test_a_base_of_another_width_is_pre_trained_once_and_the_usual_one_ships(tmp_path):
    usual, narrow = load_params("smoke"), load_params("smoke", overrides=NARROW)
    assert base_folder(usual, tmp_path, log=silent) == ASSETS / "llama-0"
    lines = []
    folder = base_folder(narrow, tmp_path, log=lines.append)
    assert lines == ["[world llama] pre-training a base of width 48"]
    config = models.load_policy(folder).config
    assert (config.hidden_size, config.num_attention_heads, config.head_dim) == (48, 2, 24)
    assert 0 < made(folder)["loss"] < np.log(config.vocab_size) + 1
    assert base_folder(narrow, tmp_path, log=lines.append) == folder
    assert len(lines) == 1
    fewer = load_params("smoke", overrides=NARROW | {"model.pretrain_rows": 30})
    assert base_folder(fewer, tmp_path, log=silent) != folder


def test_policies_of_every_size_are_judged_by_the_same_oracle(tmp_path):
    few = {"task.comparison_rows": 40, "task.held_out_rows": 20}
    usual = oracle_folder(load_params("smoke", overrides=few), tmp_path, silent)
    assert oracle_folder(load_params("smoke", overrides=few | NARROW), tmp_path, silent) == usual


def test_the_step_of_each_size_is_the_one_that_the_committed_tuning_chooses():
    tuning = pd.read_csv(HOME / "figures" / f"{by_size.NAME}_tuning.csv")
    tried = load_study("scale_tuning").cells
    steps = {variant: own.dpo.learning_rate for (_, _, variant, _), own in tried.items()}
    chosen = by_size.chosen_steps(tuning)
    cells = load_study("scale").cells
    assert set(chosen) == {variant for _, _, variant, _ in cells}
    for (_, _, variant, _), params in cells.items():
        assert params.dpo.learning_rate == steps[f"{variant}, {chosen[variant]}"], variant


def test_the_largest_step_at_which_the_truth_never_falls_is_chosen():
    ends = {
        "width 48, step x1/2": (1.1, 1.2), "width 48, step x1": (1.5, 1.0),
        "width 48, step x2": (2.0, 0.9), "width 96, step x1": (0.9, 0.9),
        "width 96, step x2": (3.0, 0.9),
    }  # fmt: skip
    rows = [
        {"variant": variant, "seed": seed, "round": t, "utility": value if t else 1.0}
        for variant, own in ends.items() for seed, value in enumerate(own) for t in (0, 1)
    ]  # fmt: skip
    chosen = by_size.chosen_steps(pd.DataFrame(rows))
    assert chosen == {"width 48": "step x1", "width 96": "step x1"}


def test_a_model_made_elsewhere_has_its_own_width():
    assert not load_study("scale", "paper").cells  # what a batch's rules ask
    with pytest.raises(ParamsError, match="profile paper lacks it: run it under tiny"):
        Study.open("scale", "paper", [0])


def test_the_smallest_sizes_alone_with_bases_of_fewer_rows():
    study = load_study("scale")
    few = model_size.smallest(study, 2, 500)
    widths = {params.model.hidden_size: params.model.pretrain_rows for params in few.cells.values()}
    assert widths == {48: 500, 96: 0}  # the one that ships stays as it is
    assert model_size.smallest(study).cells == study.cells


def test_orthogonal_gradients_fill_every_direction_and_equal_ones_a_single_one():
    prompts = np.arange(6)
    found = model_size.geometry(3.0 * np.eye(6), prompts)
    assert found == pytest.approx({"effective": 3.0, "overlap": 0.0})
    equal = model_size.geometry(np.ones((6, 4)), prompts)
    assert equal == pytest.approx({"effective": 6 / 7, "overlap": 1.0})
    # Pairs of one prompt do not count as overlap.
    assert model_size.geometry(np.eye(6)[[0, 0, 1, 1]], np.array([0, 0, 1, 1]))["overlap"] == 0


def test_the_effective_dimension_is_the_trace_of_the_hat_matrix():
    phi = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    scaled = phi.astype(np.float64) / np.sqrt((phi**2).sum(1).mean())
    hat = scaled @ np.linalg.inv(scaled.T @ scaled + 0.5 * np.eye(8)) @ scaled.T
    found = model_size.geometry(phi, np.arange(20), 0.5)["effective"]
    assert found == pytest.approx(np.trace(hat), rel=1e-5)


def table(gains):
    """Reward by parameters; gains: {strategy: its gain at each of three sizes}."""
    rows = [
        {"task": "webgpt", "model": "gemma", "variant": f"width {size}", "strategy": name,
         "seed": seed, "round": t, "labels": 10 * t, "parameters": 1000 * 4**at,
         "reward": t * (gain[at] + 0.01 * seed * (at + 1)) + seed, "utility": float("nan")}
        for name, gain in ({"random": (0, 0, 0)} | gains).items()
        for at, size in enumerate((48, 96, 192)) for seed in range(4) for t in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_trend_is_what_four_times_the_parameters_add():
    found = by_size.by_size(table({"activedpo": (0.1, 0.3, 0.5)}), "reward")
    assert list(found["activedpo"]) == [1000, 4000, 16000]
    assert np.allclose(by_size.trend(found["activedpo"]), 0.2)


def test_the_sentence_counts_sizes_and_says_where_they_start(tmp_path):
    gains = {"activedpo": (0.0, 0.3, 0.5), KNOWN: (0.4, 0.4, 0.4)}
    table(gains).to_csv(tmp_path / f"{by_size.NAME}.csv", index=False)
    started = {"parameters": [1000, 4000] * 2, "base_loss": 2.0, "sft_loss": 1.0, "pairs": 360}
    started |= {"effective": [150.0, 168.0] * 2, "overlap": 0.1, "seed": [0, 0, 1, 1]}
    started = pd.DataFrame(started)
    started.to_csv(tmp_path / f"{by_size.NAME}_bases.csv", index=False)
    told = by_size.sentence(tmp_path)
    head = (
        "ActiveDPO ended above Random at 2 of 3 sizes and one who knew every reward at all 3 sizes."
    )
    assert told.startswith(f"**{head}**")
    assert "2.00 and 1.00 nats; effective dimension 150 of 360 pairs; overlap 0.10" in told
    assert "ActiveDPO: +0.25 ± 0.00" in told
    assert "effective dimension, as a share of the pairs: +0.050 ± 0.000" in told


@pytest.mark.slow
def test_the_notebook_runs_with_two_sizes_and_small_bases(tmp_path):
    figures = tmp_path / "figures"
    given = {"profile": "smoke", "root": str(tmp_path / "runs"), "seeds": [0, 1], "rows": 300}
    given |= {"tuning_seeds": [100], "sizes": 2, "figures": str(figures)}
    execute(HOME / "notebooks" / "26_model_size.ipynb", tmp_path / "out.ipynb", given)
    found = pd.read_csv(figures / f"{by_size.NAME}.csv")
    assert found.groupby("variant")["strategy"].nunique().to_dict() == {
        "width 48": 4,
        "width 96": 4,
    }
    started = pd.read_csv(figures / f"{by_size.NAME}_bases.csv")
    small, usual = (own for _, own in started.groupby("variant", sort=False))
    assert small["parameters"].max() < usual["parameters"].min()
    assert (small["base_loss"].to_numpy() > usual["base_loss"].to_numpy()).all()


def test_a_study_names_a_ceiling_as_tables_do():
    cells = load_study("scale").cells
    assert {(q.strategy, q.ceiling) for q in cells.values()} == {
        ("random", ""), ("activedpo", ""), ("upper_confidence_gap", ""), ("random", "matching"),
    }  # fmt: skip
    assert all(params.chooser == cell[3] for cell, params in cells.items())
