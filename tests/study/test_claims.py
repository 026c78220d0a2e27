"""The README's table of claims is what the committed tables say, and the rulings follow their
intervals.
"""

import numpy as np
import pytest

from activedpo_lib.store import HOME
from activedpo_lib.study import claims


def test_the_readme_says_what_the_committed_tables_say():
    readme = (HOME / "README.md").read_text(encoding="utf-8")
    for line in claims.markdown(claims.all_claims()).splitlines():
        assert line in readme


@pytest.mark.parametrize(
    ("signs", "wanted", "found"),
    [
        ([1, 1], 1, "holds"),
        ([1, 0], 1, "mixed"),
        ([0, -1], 1, "does not"),
        ([-1, -1], -1, "holds"),
        ([0], 0, "holds"),
    ],
)
def test_a_ruling_follows_the_signs(signs, wanted, found):
    assert claims.ruling(signs, wanted) == found


def test_a_sign_is_that_of_an_interval_without_zero():
    rng = np.random.default_rng(0)
    assert claims.sign(1 + 0.1 * rng.normal(size=8)) == 1
    assert claims.sign(-1 + 0.1 * rng.normal(size=8)) == -1
    assert claims.sign(0.01 + rng.normal(size=8)) == 0
    assert claims.number([0.5, 0.7]) == "+0.60 ± 1.27"
