import subprocess
import sys

import numpy as np
import pytest
import torch

from activedpo_lib.method.projection import KINDS, make_projection
from activedpo_lib.streams import stream

SHAPES = {"a": (7, 100), "b": (32, 2), "c": (50, 30)}
SIZES = {name: rows * columns for name, (rows, columns) in SHAPES.items()}
RANDOM = [kind for kind in KINDS if kind != "none"]


def project(kind, dim, seed, gradients):
    projection = make_projection(kind, dim, seed, SHAPES)
    out = torch.zeros(len(gradients), projection.dim)
    for name, part in zip(SIZES, gradients.split(list(SIZES.values()), 1), strict=True):
        projection.add(out, name, part)
    return out


def gradients(n=6, seed=0):
    return torch.from_numpy(
        stream(seed, "g").numpy().standard_normal((n, sum(SIZES.values())), dtype=np.float32)
    )


@pytest.mark.parametrize("kind", RANDOM)
def test_inner_products_are_unbiased_and_within_the_bound(kind):
    g = gradients(2)
    g[1] += g[0]  # correlated, as gradients are
    exact, dim, seeds = float(g[0] @ g[1]), 128, 200
    found = np.array([float(p[0] @ p[1]) for p in (project(kind, dim, s, g) for s in range(seeds))])
    scale = float(g[0].norm() * g[1].norm())
    deviation = found.std() / scale
    assert deviation < 1.6 / np.sqrt(dim)
    assert abs(found.mean() - exact) / scale < 4 * deviation / np.sqrt(seeds)


@pytest.mark.parametrize("kind", RANDOM)
def test_distortion_falls_as_one_over_root_d(kind):
    g = torch.nn.functional.normalize(gradients(24))
    truth = g @ g.T

    def rms(dim):
        errors = [
            (lambda p: (p @ p.T - truth).square().mean())(project(kind, dim, s, g))
            for s in range(8)
        ]
        return float(torch.stack(errors).mean().sqrt())

    assert 1.5 < rms(64) / rms(256) < 2.7


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_bitwise_the_same_for_every_batch_size(kind):
    g = gradients()
    whole = project(kind, 50, 1, g)
    assert whole.any()
    if kind in (
        "srht",
        "kronecker",
        "rademacher",
        "gaussian",
    ):  # a matrix product may sum in another order
        torch.testing.assert_close(
            torch.cat([project(kind, 50, 1, row[None]) for row in g]), whole, atol=1e-4, rtol=1e-4
        )
    else:
        assert torch.equal(torch.cat([project(kind, 50, 1, row[None]) for row in g]), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_projection_is_linear(kind):
    g = gradients(2)
    both = project(kind, 50, 1, g)
    torch.testing.assert_close(
        project(kind, 50, 1, (2 * g[0] - g[1])[None])[0],
        2 * both[0] - both[1],
        atol=1e-3,
        rtol=1e-3,
    )


def test_another_process_draws_the_same_projection():
    code = (
        "import sys; sys.path.insert(0, 'tests/method'); from test_projection import *;"
        "print([project(k, 40, 5, gradients(1)).double().sum().item() for k in RANDOM])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == str(
        [project(k, 40, 5, gradients(1)).double().sum().item() for k in RANDOM]
    )


PINNED = {
    "fold": [-1.748, 0.098, 3.727],
    "countsketch": [-0.386, -0.354, 3.364],
    "srht": [-6.174, -1.958, 10.087],
    "kronecker": [-1.864, 9.87, -5.097],
    "rademacher": [5.34, 2.071, 0.213],
    "gaussian": [-1.947, -0.915, -0.997],
}


@pytest.mark.parametrize("kind", RANDOM)
def test_every_machine_draws_these_values(kind):
    ramp = torch.linspace(-1, 1, sum(SIZES.values()))[None]
    assert [round(float(v), 3) for v in project(kind, 40, 5, ramp)[0, :3]] == PINNED[kind]


def test_a_fold_is_the_same_in_slices_and_at_once():
    fold = make_projection("fold", 50, 1, SHAPES)
    for name, part in zip(SIZES, gradients().split(list(SIZES.values()), 1), strict=True):
        slices, at_once = torch.zeros(6, 50), torch.zeros(6, 50)
        signs, offsets = fold._tensors(name, part)
        fold._add_slices(slices, part * signs, offsets)
        fold._add_gathered(at_once, part * signs, offsets)
        torch.testing.assert_close(slices, at_once, atol=1e-4, rtol=1e-5)


def test_srht_keeps_a_module_that_fits_exactly():
    srht, g = (
        make_projection("srht", 64, 0, {"x": (8, 8)}),
        torch.randn(3, 64, generator=torch.manual_seed(0)),
    )
    out = torch.zeros(3, 64)
    srht.add(out, "x", g)
    torch.testing.assert_close(out @ out.T, g @ g.T)


def test_seeds_and_modules_draw_different_signs():
    one = torch.ones(1, 1500)
    draws = []
    for seed, name in ((0, "x"), (0, "y"), (1, "x")):
        out = torch.zeros(1, 64)
        make_projection("fold", 64, seed, {name: (50, 30)}).add(out, name, one)
        draws.append(out)
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_signs_are_balanced():
    out = torch.zeros(1, 20_000)
    make_projection("fold", 20_000, 0, {"x": (100, 200)}).add(out, "x", torch.ones(1, 20_000))
    assert set(out.unique().tolist()) == {-1.0, 1.0}
    assert abs(out.mean()) < 4 / np.sqrt(20_000)


def test_none_is_exact():
    g = gradients()
    assert torch.equal(project("none", 1, 0, g), g)


@pytest.mark.parametrize(("kind", "dim", "shapes", "message"), [
    ("folded", 8, SHAPES, "projection kind must be one of"),
    ("fold", 0, SHAPES, "dim >= 1"),
    ("fold", 8, {}, "at least one module"),
])  # fmt: skip
def test_bad_input_is_named(kind, dim, shapes, message):
    with pytest.raises(ValueError, match=message):
        make_projection(kind, dim, 0, shapes)
