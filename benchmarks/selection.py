"""Picking 50 of 3,000 real pairs, d 8192: against the dual form in full, Sherman-Morrison, and an
explicit inverse.
"""

import numpy as np

from activedpo_lib.method.design import select_greedy
from benchmarks.measure import Row, interleaved, once, ratio
from benchmarks.references import explicit_inverse, full_dual, sherman_morrison
from benchmarks.subjects import world_pairs

PICKS = 50


def run():
    """The rows of this benchmark."""
    phi = world_pairs()
    ridge = float(np.square(phi).sum(1).mean())
    variants = {
        "lazy": lambda: select_greedy(phi, PICKS, ridge),
        "dual": lambda: full_dual(phi, PICKS, ridge),
    }
    seconds = interleaved(variants, 5)
    slow, picks = once(lambda: sherman_morrison(phi, PICKS, ridge))
    yield Row("lazy selection", float(np.median(seconds["lazy"])), "s")
    yield Row(
        "Sherman-Morrison on d x d / lazy", slow / float(np.median(seconds["lazy"])), at_least=20
    )
    yield Row(
        "Sherman-Morrison on d x d / full dual",
        slow / float(np.median(seconds["dual"])),
        at_least=8,
    )
    truth = full_dual(phi, PICKS, ridge)
    same = [
        select_greedy(phi, PICKS, ridge).indices.tolist() == truth,
        select_greedy(phi.astype(np.float64), PICKS, ridge).indices.tolist() == truth,
    ]
    yield Row(
        "picks equal the full dual's, from float32 and float64",
        float(np.mean(same)),
        "",
        at_least=1,
    )
    yield Row(
        "share of Sherman-Morrison's float32 picks among them",
        len(set(picks) & set(truth)) / PICKS,
        "",
    )
    past, rest = phi[:500], phi[500:]
    labelled = {
        "lazy": lambda: select_greedy(rest, PICKS, ridge, past),
        "dual": lambda: full_dual(rest, PICKS, ridge, past),
    }
    seconds = interleaved(labelled, 3)
    yield Row("lazy selection with 500 labelled pairs", float(np.median(seconds["lazy"])), "s")
    yield Row("full dual / lazy, 500 labelled", ratio(seconds, "dual", "lazy"))
    same = select_greedy(rest, PICKS, ridge, past).indices.tolist() == full_dual(
        rest, PICKS, ridge, past
    )
    yield Row("picks equal the full dual's, 500 labelled", float(same), "", at_least=1)
    inverse, _ = once(lambda: explicit_inverse(phi[:, :2048].astype(np.float64), 1, ridge))
    yield Row("explicit inverse at d 2048 (a quarter): seconds for a pick", inverse, "s")
