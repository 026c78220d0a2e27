"""Randomness by name: the same name is the same sequence everywhere, and no two names share one."""

import pandas as pd
import pytest

from activedpo_lib.streams import choose, stream


def test_streams_are_named_apart_and_the_same_everywhere():
    assert stream(0, "a", 1).numpy().random() == stream(0, "a", 1).numpy().random()
    draws = {
        stream(seed, name, t).numpy().random() for seed in (0, 1) for name in "ab" for t in (1, 2)
    }
    assert len(draws) == 8
    assert stream(0, "a").child(1) == stream(0, "a", 1)
    # Pinned: another value would mean that every figure changes.
    assert stream(0, "prompts", 1).numpy().integers(0, 2**32) == 4212783934
    assert stream(0, "select", 1).uniforms([("p", 0, 1)])[0] == pytest.approx(
        0.4661446537465638, abs=1e-15
    )


def test_keys_belong_to_the_items_not_their_places():
    keys = stream(0, "k").uniforms(["a", "b", "c"])
    assert stream(0, "k").uniforms(["c", "a", "b"]).tolist() == [keys[2], keys[0], keys[1]]
    assert 0 <= keys.min() < keys.max() < 1


def test_choose_is_uniform():
    rng = stream(0, "c").numpy()
    counts = pd.Series([choose(rng, "abc") for _ in range(3000)]).value_counts()
    assert (abs(counts - 1000) < 120).all()
