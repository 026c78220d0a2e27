"""A bar with the time left, for somebody who looks; a batch has its own lines."""

import os
from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
# tqdm's own switch, which its notebook bar does not read; `batch.execute` sets it.
SWITCH = "TQDM_DISABLE"


def bar(items: Iterable[Item], what: str = "") -> Iterable[Item]:
    """The items, with a bar beside them that says how many are done and the time left."""
    return tqdm(items, desc=what, unit="run", disable=bool(os.environ.get(SWITCH)))


def silent(_: str) -> None:
    """A log that says nothing, for those who read finished runs by the hundred."""
