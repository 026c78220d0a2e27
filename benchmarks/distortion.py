"""What projection costs in quality, on real gradients (3,000 responses of the built-in world's
policy, 29,184 parameters).
"""

import numpy as np

from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.features import pair_features
from activedpo_lib.method.gradients import gradient_shapes
from activedpo_lib.method.projection import make_projection
from activedpo_lib.study.probing.distortion import cosine_error, log_det, project
from benchmarks.measure import Row
from benchmarks.subjects import world_features, world_run

DIMENSIONS = (512, 2048, 8192)
KINDS = ("fold", "countsketch", "srht", "kronecker", "rademacher")
SEEDS = 3
PICKS = 50


def run():
    """The rows of this benchmark."""
    features, pairs = world_features("none", 1)
    shapes, sample = gradient_shapes(world_run()[1]), features.phi[::10]
    phi = pair_features(features, pairs, "response", "after")
    ridge = float(np.square(phi).sum(1).mean())
    best = log_det(phi, select_greedy(phi, PICKS, ridge).indices, ridge)
    drawn = [np.random.default_rng(s).choice(len(phi), PICKS, replace=False) for s in range(20)]
    yield Row(
        "log-det share of a random set",
        float(np.mean([log_det(phi, d, ridge) for d in drawn])) / best,
        "",
    )
    for kind in KINDS:
        for dim in DIMENSIONS if kind != "rademacher" else DIMENSIONS[:1]:
            projections = [make_projection(kind, dim, seed, shapes) for seed in range(SEEDS)]
            errors = [cosine_error(sample, project(sample, p)) ** 2 for p in projections]
            bar = 1.15 if kind == "fold" else None
            yield Row(
                f"{kind} {dim}: cosine RMS error x sqrt(d)",
                float(np.sqrt(np.mean(errors) * dim)),
                "",
                at_most=bar,
            )
            if dim == DIMENSIONS[-1]:
                shares = [_share(features, pairs, phi, p, ridge) / best for p in projections]
                bar = 0.995 if kind == "fold" else None
                yield Row(
                    f"{kind} {dim}: log-det share of exact greedy",
                    float(np.mean(shares)),
                    "",
                    at_least=bar,
                )


def _share(features, pairs, phi, projection, ridge):
    projected = features._replace(phi=project(features.phi, projection))
    picks = select_greedy(
        pair_features(projected, pairs, "response", "after"), PICKS, ridge
    ).indices
    return log_det(phi, picks, ridge)
