"""Which difference could have been seen: the power of the paired t test over seeds."""

from collections.abc import Iterable

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct

from activedpo_lib.study.comparisons.corrected import LEVEL, critical

POWER = 0.8


def power_of(difference: float, deviation: float, seeds: int, level: float = LEVEL) -> float:
    """The chance that a paired t test of `seeds` seeds, two-sided at `level`, sees a true mean
    difference, where paired differences have the standard deviation `deviation`.
    """
    shift, limit = difference / deviation * np.sqrt(seeds), critical(seeds, level)
    wrong_side = np.nan_to_num(nct.cdf(-limit, seeds - 1, shift))  # scipy's NaN where it is tiny
    return float(nct.sf(limit, seeds - 1, shift) + wrong_side)


def detectable(deviation: float, seeds: int, power: float = POWER, level: float = LEVEL) -> float:
    """The least true mean difference that is seen with `power`, in the deviation's unit; NaN for
    one seed, with which nothing is seen, and 0 where seeds do not differ.
    """
    if seeds < 2:
        return float("nan")
    if deviation == 0:
        return 0.0
    most = 2 * critical(seeds, level) + 10
    shift = brentq(lambda effect: power_of(effect, 1.0, seeds, level) - power, 1e-9, most)
    return float(shift * deviation)


def pooled_deviation(groups: Iterable[np.ndarray]) -> float:
    """The standard deviation over seeds that several comparisons share: the root of the mean of
    their variances, each by its degrees of freedom. groups: paired differences, (seeds,) each.
    """
    own = [np.asarray(values, dtype=np.float64) for values in groups]
    free = sum(len(values) - 1 for values in own)
    if free < 1:
        return float("nan")
    return float(np.sqrt(sum(((v - v.mean()) ** 2).sum() for v in own) / free))


def power_line(groups: Iterable[np.ndarray], what: str = "reward", comparisons: int = 1) -> str:
    """What could have been seen, as a sentence. groups: paired differences, (seeds,) each;
    comparisons: those that a verdict is corrected for.
    """
    own = list(groups)
    seeds, most = (pick(len(values) for values in own) for pick in (min, max))
    least = detectable(pooled_deviation(own), seeds, level=LEVEL / comparisons)
    if np.isnan(least):
        return "With one seed no difference can be established."
    many = "one comparison" if comparisons == 1 else f"{comparisons} comparisons"
    return (
        f"With {seeds}{f' to {most}' * (most > seeds)} seeds a true difference of {least:.2g} in "
        f"{what} would be established in {POWER:.0%} of repeats (paired t at {LEVEL:.0%}, {many})."
    ).replace("%", " %")
