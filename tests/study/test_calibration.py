"""Figure 6's measures of error against direct formulas."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from activedpo_lib.study.comparisons.calibration import (
    bradley_terry_scale,
    by_decile,
    errors,
    partial_spearman,
    uncertainty_and_error,
)


def test_the_scale_is_the_best_on_a_grid_and_finds_the_one_that_drew_the_labels():
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 1, 4000)
    labelled = np.where(rng.random(4000) < 1 / (1 + np.exp(-3 * margins)), margins, -margins)
    found = bradley_terry_scale(labelled)
    assert found == pytest.approx(3, rel=0.1)
    few = labelled[:30]
    target, grid = 31 / 32, np.linspace(0, 20, 20001)[:, None]
    loss = target * np.logaddexp(0, -grid * few) + (1 - target) * np.logaddexp(0, grid * few)
    assert bradley_terry_scale(few) == pytest.approx(grid[loss.sum(1).argmin(), 0], abs=2e-3)
    assert 0 < bradley_terry_scale(np.abs(few)) < 100  # all learned: smoothed, not infinite
    assert bradley_terry_scale(-np.abs(few)) == 0
    assert bradley_terry_scale([]) == bradley_terry_scale([0.0, 0.0]) == 1


def test_errors_are_their_definitions():
    margin, gap = np.array([0.5, -0.5, 0.0]), np.array([1.0, 2.0, -1.0])
    found = errors(margin, gap, 2.0)
    np.testing.assert_allclose(found["error"], [0.5, 2.5, 1.0])
    np.testing.assert_allclose(found["error on one scale"], [0.0, 3.0, 1.0])
    np.testing.assert_allclose(found["wrong side"], [0, 1, 0.5])
    p, q = 1 / (1 + np.exp(-gap)), 1 / (1 + np.exp(-2 * margin))
    np.testing.assert_allclose(found["log-loss"], -p * np.log(q) - (1 - p) * np.log(1 - q))


def test_partial_correlation_is_that_of_the_residuals_of_ranks():
    rng = np.random.default_rng(1)
    control = rng.normal(size=300)
    x, y = (control + rng.normal(size=300) for _ in range(2))
    z = np.column_stack([np.ones(300), rankdata(control)])
    left = [r - z @ np.linalg.lstsq(z, r, rcond=None)[0] for r in (rankdata(x), rankdata(y))]
    assert partial_spearman(x, y, control) == pytest.approx(pearsonr(*left)[0])
    assert spearmanr(x, y)[0] > 0.3 > abs(partial_spearman(x, y, control))
    assert partial_spearman(x, np.ones(300), control) == 0
    assert partial_spearman(x, control, control) == 0


def test_deciles_are_tenths_from_the_least_to_the_most_uncertain():
    uncertainty = np.random.default_rng(2).permutation(100).astype(float)
    found = {"uncertainty": uncertainty, "true gap": uncertainty, "errors": {"error": uncertainty}}
    table = by_decile(found)
    assert table["decile"].tolist() == list(range(1, 11))
    np.testing.assert_allclose(table["error"], 4.5 + 10 * np.arange(10))


def test_the_error_on_real_text_is_refused_before_a_round_is_looked_into():
    run = SimpleNamespace(task=SimpleNamespace(name="qa", utility=None))  # and nothing else to read
    with pytest.raises(
        ValueError, match="qa is real text: Proposition 1 can be checked only where"
    ):
        uncertainty_and_error(run)
