"""params/studies under every profile, and the statistics of the studies against slower truths."""

import itertools

import numpy as np
import pytest
import yaml

from activedpo_lib.method.formulas import interaction
from activedpo_lib.method.strategies import STRATEGIES
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.study import studies
from activedpo_lib.study.studies import load_study, study_names


@pytest.mark.parametrize("profile", ["tiny", "smoke", "files", "small", "paper"])
def test_every_study_is_possible_under_every_profile(profile):
    for name in study_names():
        study = load_study(name, profile)
        assert study.cells
        assert all(params.profile == profile for params in study.cells.values())


def test_a_factor_multiplies_what_the_profile_says():
    tiny, paper = (load_study("projection", profile).cells for profile in ("tiny", "paper"))
    sizes = [
        {v: q.selection.dimensions for (_, v, _), q in cells.items()} for cells in (tiny, paper)
    ]
    assert [s["fold x1/8"] for s in sizes] == [64, 1024]
    halves = {v: (q.batch_size, q.rounds) for (_, v, _), q in load_study("pays").cells.items()}
    assert halves["usual"] == (40, 6)
    assert halves["batch x1/2, rounds x2"] == (20, 12)
    assert halves["batch x3, rounds x1/3"] == (120, 2)


def test_all_strategies_means_all():
    ours = {strategy for _, _, strategy in load_study("strategies").cells}
    assert ours == set(STRATEGIES) - {"frozen_v"}  # an ablation of ActiveDPO, in Figure 7


def test_studies_share_runs_with_the_main_figures():
    usual = load_params("tiny", "webgpt", "gemma", "activedpo").digest()
    for name in (
        "normalisation",
        "projection",
        "v_ablation",
        "probed",
        "pays",
        "ridge",
        "strategies",
    ):
        assert usual in {params.digest() for params in load_study(name).cells.values()}, name


def test_an_unknown_study_and_a_bad_one_are_named(tmp_path, monkeypatch):
    with pytest.raises(ParamsError, match="no study 'projektion'"):
        load_study("projektion")
    said = {
        "odd": {"tasks": "last", "variants": {"a": {"selection.rigde": 1.0}}},
        "odder": {"tasks": "last", "variant": {}},
    }
    for name, values in said.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setattr(studies, "STUDIES", tmp_path)
    with pytest.raises(ParamsError, match=r"did you mean selection\.ridge"):
        load_study("odd")
    with pytest.raises(ParamsError, match="unknown key 'variant'"):
        load_study("odder")


def test_no_interaction_has_zero_contrasts_and_a_strong_one_the_smallest_p():
    rng = np.random.default_rng(0)
    additive = rng.normal(size=(6, 2, 1)) + rng.normal(size=(6, 1, 3))
    contrasts, p = interaction(additive)
    np.testing.assert_allclose(contrasts, 0, atol=1e-12)
    crossed = additive + 5 * np.array([[1, -1, 0], [-1, 1, 0]]) + 0.01 * rng.normal(size=(6, 2, 3))
    _, p = interaction(crossed)
    assert p == 2**-5


def test_the_interactions_p_is_that_of_all_sign_patterns():
    values = np.random.default_rng(1).normal(size=(5, 2, 3))
    left = (
        values
        - values.mean(2, keepdims=True)
        - values.mean(1, keepdims=True)
        + values.mean((1, 2), keepdims=True)
    )
    found = [np.square(np.mean([s * x for s, x in zip(signs, left, strict=True)], axis=0)).sum()
             for signs in itertools.product([1, -1], repeat=5)]  # fmt: skip
    assert interaction(values)[1] == pytest.approx(np.mean(np.array(found) >= found[0] - 1e-12))
    assert np.isnan(interaction(values[:1])[1])


def test_under_no_interaction_p_is_rarely_small():
    rng = np.random.default_rng(2)
    small = [interaction(rng.normal(size=(8, 2, 3)))[1] <= 0.05 for _ in range(400)]
    assert np.mean(small) < 0.09
