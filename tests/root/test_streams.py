"""Randomness by name: the same name is the same sequence everywhere, and no two names share one."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from activedpo_lib.method.projection import make_projection
from activedpo_lib.streams import Stream, choose, stream

PARTS = st.one_of(st.integers(), st.text(alphabet="a/%-012F\n", max_size=4), st.text(max_size=4))
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(tuple)


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


@given(NAMES, NAMES)
@example((0, "a/b"), (0, "a", "b"))
@example((0, 1), (0, "1"))
@example((0, "%31"), (0, "1"))
@example((0, "a%2Fb"), (0, "a/b"))
@example((0, "", ""), (0, "/"))
def test_two_names_are_one_stream_only_where_they_are_the_same(first, second):
    same = [(type(part), part) for part in first] == [(type(part), part) for part in second]
    assert (Stream(first).seed == Stream(second).seed) == same


def test_a_name_of_anything_but_text_and_whole_numbers_is_refused():
    for part in (0.5, None, True, ("a",)):
        with pytest.raises(TypeError, match="made of text and whole numbers, got"):
            stream(0, part).numpy()


def test_a_projection_draws_from_the_stream_of_its_seed_and_module():
    size, name = 40, "layers.0.q_proj"
    fold = make_projection("fold", 8, 7, {name: (4, 10)})
    out = torch.zeros(size, 8)
    fold.add(out, name, torch.eye(size))
    rng = stream(7, name).numpy()
    signs = rng.integers(0, 2, size, dtype=np.int8) * 2 - 1
    places = (np.arange(size) % 8 + np.repeat(rng.integers(0, 8, 5), 8)) % 8
    expected = np.zeros((size, 8), np.float32)
    expected[np.arange(size), places] = signs
    assert np.array_equal(out.numpy(), expected)
