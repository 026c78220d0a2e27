"""The exercises of notebooks 08 to 14: the paper's figures, and what V adds."""

import numpy as np
from scipy.stats import t

from activedpo_lib.course.kinds import Choice, Exercise, Function, Number


def _half_width(values: np.ndarray, spread: float = 1.0, times: float | None = None) -> float:
    times = t.ppf(0.975, len(values) - 1) if times is None else times
    return times * spread * values.std(ddof=1) / np.sqrt(len(values))


def _over_optimised(reward: np.ndarray, utility: np.ndarray) -> int | None:
    found = np.flatnonzero((np.diff(reward) > 0) & (np.diff(utility) < 0))
    return int(found[0]) + 1 if len(found) else None


EXERCISES: dict[str, Exercise] = {
    "08.1": Function(
        _half_width,
        lambda random: (random.normal(size=5),),
        "Student's t: few seeds know their own spread badly, and the interval says so.",
        {
            "1.96 is for many seeds; with few, take Student's t with n - 1 degrees of freedom.": (
                lambda values: _half_width(values, times=1.96)
            ),
            "`std()` divides by n; an estimate from a sample divides by n - 1: `ddof=1`.": (
                lambda values: _half_width(values, spread=values.std() / values.std(ddof=1))
            ),
            "That is the interval of one seed's value; the mean's is narrower by sqrt(n).": (
                lambda values: _half_width(values, spread=np.sqrt(len(values)))
            ),
        },
    ),
    "08.2": Function(
        lambda half, seeds, wanted: int(np.ceil((half / wanted) ** 2 * seeds)),
        lambda random: (0.1 + random.random(), int(random.integers(3, 10)), 0.05),
        "Half the width costs four times the seeds.",
        {
            "The width falls as 1 / sqrt(n): square the ratio.": (
                lambda half, seeds, wanted: int(np.ceil(half / wanted * seeds))
            ),
        },
    ),
    "08.3": Function(
        lambda strategy, baseline: strategy - baseline,
        lambda random: (random.random(5), random.random(5)),
        "A pair is two strategies under *one* seed; their order must stay.",
        {
            "Sorted, one seed's value meets another seed's: the pairs are gone.": (
                lambda strategy, baseline: np.sort(strategy) - np.sort(baseline)
            ),
            "A difference of means is one number: the spread over seeds is lost.": (
                lambda strategy, baseline: strategy.mean() - baseline.mean()
            ),
        },
    ),
    "09.1": Choice(
        "its gain",
        {
            "its gain": "Beta is the price of leaving the reference: the policy stays near it.",
            "nothing": "Both runs stay nearer pi_SFT, the careful one as well.",
        },
    ),
    "09.2": Function(
        _over_optimised,
        lambda random: (random.random(4).cumsum(), random.normal(size=4)),
        "Reward up and truth down in one step: the oracle's holes are being climbed into.",
        {
            "That is the round before: a difference belongs to the round that it ends in.": (
                lambda reward, utility: (
                    None if (found := _over_optimised(reward, utility)) is None else found - 1
                )
            ),
        },
    ),
    "10.1": Choice(
        "it falls",
        {
            "it falls": "More subsets of one set: the smallest has fewer demonstrations.",
            "it rises": "Less to learn from rarely helps: look at its number of demonstrations.",
        },
    ),
    "10.2": Function(
        lambda a: a - a.mean(0) - a.mean(1, keepdims=True) + a.mean(),
        lambda random: (random.random((2, 3)),),
        "What is left when models and subsets have had their own effects.",
        {
            "The grand mean was subtracted twice: add it once.": (
                lambda a: a - a.mean(0) - a.mean(1, keepdims=True)
            ),
            "Only rows were taken out; take the columns' effects out too.": (
                lambda a: a - a.mean(1, keepdims=True)
            ),
        },
    ),
    "11.1": Number(
        1.0,
        "2 (1 - cos 60 degrees) = 1: as long as each of the two.",
        {
            0.5: "That is the cosine itself.",
            3.0: "That is the squared norm of the sum; phi is the difference.",
            2 * (1 - np.cos(60)): "np.cos takes radians: np.pi / 3.",
        },
    ),
    "11.2": Choice(
        "stay the same",
        {
            "stay the same": "A relative ridge grows with phi's square, so every score keeps.",
            "change": "With an absolute ridge they may. Here V's start grows along.",
        },
    ),
    "12.1": Choice(
        "below",
        {
            "below": "Few parameters share a number, and those alone in theirs bring no error.",
            "at": "1 / sqrt(d) is for many parameters a number; here there are few.",
            "above": "Look at how many parameters share one of the d numbers.",
        },
    ),
    "12.2": Number(
        400.0,
        "(1 / 0.05) squared.",
        {20.0: "The error falls as 1 / sqrt(d): square it.", 0.0025: "Its inverse."},
    ),
    "13.1": Choice(
        "it rises",
        {
            "it rises": "With little regularisation the network fits the labels' noise.",
            "it falls": "The labels are noisy: fitting them closely is not being right.",
        },
    ),
    "13.2": Function(
        lambda error: np.quantile(error, 0.95),
        lambda random: (random.random(40),),
        "The proposition is worth something where its bound is below this for some pairs.",
        {
            "That bound holds for all pairs; 0.95 of them were asked for.": lambda error: (
                error.max()
            ),
            "The mean bounds about half of the pairs.": lambda error: error.mean(),
        },
    ),
    "14.1": Choice(
        "no v (norm only)",
        {
            "no v (norm only)": "V is then close to a multiple of the identity.",
            "kept features": "That changes which phi V is made of; V's growth is what goes.",
            "v anew each round": "Inside the batch that one still grows as the paper's does.",
        },
    ),
    "14.2": Function(
        lambda phi, ridge: ridge / (ridge + phi @ phi),
        lambda random: (random.normal(size=3), 0.5 + random.random()),
        "A long phi, or a small ridge, and one label makes a direction known.",
        {
            "The squared norm stands below, not the norm.": (
                lambda phi, ridge: ridge / (ridge + np.sqrt(phi @ phi))
            ),
            "That is V^-1 itself; the share of what it was is asked for.": (
                lambda phi, ridge: 1 / (ridge + phi @ phi)
            ),
        },
    ),
    "14.3": Function(
        lambda inverse, phi: np.linalg.inv(np.linalg.inv(inverse) + np.outer(phi, phi)),
        lambda random: (np.diag(0.5 + random.random(3)), random.normal(size=3)),
        "Sherman-Morrison: V grew, so its inverse shrinks.",
        {
            "The inverse still grows: what was asked becomes *more* uncertain.": (
                lambda inverse, phi: (
                    inverse + np.outer(inverse @ phi, inverse @ phi) / (1 + phi @ inverse @ phi)
                )
            ),
            "The divisor is missing: 1 + phi' V^-1 phi.": (
                lambda inverse, phi: inverse - np.outer(inverse @ phi, inverse @ phi)
            ),
        },
    ),
}
