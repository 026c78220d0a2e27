"""Work in one process or shared by many: slices of what is to be done, and the meetings between
the processes. Only the rounds (`runs/`) and greedy selection meet; all else works as if alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


class SingleProcess:
    """One process does and holds everything."""

    rank, count = 0, 1

    def share(self, total: int) -> slice:
        """The slice of `total` items that is this process's, in the order of the ranks."""
        return slice(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    def collect(self, items: list[Any]) -> list[Any]:
        """All processes' lists, one after the other, on every process."""
        return items

    def largest(self, value: float) -> float:
        """The largest of all processes' values."""
        return value

    def first(
        self, order: float | None, length: int, numbers: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """numbers(), (length,) float64, of the process with the smallest `order`; None for one
        without a contender.
        """
        return numbers()

    def wait(self) -> None:
        """Nobody goes on before all are here."""
        self.collect([])


class ProcessGroup(SingleProcess):
    """The processes of a torch.distributed group (torchrun); each has a slice, by its rank."""

    def __init__(self, group: Any = None) -> None:
        self._dist, self._group = _distributed(), group
        self.rank = self._dist.get_rank(group)
        self.count = self._dist.get_world_size(group)

    def collect(self, items: list[Any]) -> list[Any]:
        """As SingleProcess.collect."""
        parts: list[list[Any]] = [[] for _ in range(self.count)]
        self._dist.all_gather_object(parts, items, group=self._group)
        return [item for part in parts for item in part]

    def largest(self, value: float) -> float:
        """As SingleProcess.largest."""
        return float(self._each(value).max())

    def first(
        self, order: float | None, length: int, numbers: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """As SingleProcess.first; where the smallest is level, the lower rank's."""
        winner = int(self._each(math.inf if order is None else order).argmin())
        held = self._tensor(numbers() if winner == self.rank else np.empty(length))
        self._dist.broadcast(held, group=self._group, group_src=winner)
        return held.cpu().numpy()

    def _each(self, value: float) -> np.ndarray:
        """Every process's number, in the order of the ranks."""
        own = self._tensor(np.array([value]))
        everyones = [own.new_empty(1) for _ in range(self.count)]
        self._dist.all_gather(everyones, own, group=self._group)
        return np.array([one.item() for one in everyones])

    def _tensor(self, numbers: np.ndarray) -> Any:
        """The numbers as float64, where the group's backend wants them."""
        import torch

        device = "cuda" if self._dist.get_backend(self._group) == "nccl" else "cpu"
        return torch.as_tensor(numbers, dtype=torch.float64, device=device)


def processes() -> SingleProcess:
    """The ProcessGroup where torch.distributed was started, else a SingleProcess."""
    dist = _distributed()
    return ProcessGroup() if dist.is_available() and dist.is_initialized() else SingleProcess()


def _distributed() -> Any:
    import torch.distributed  # torch takes a second, and records that name this module do without

    return torch.distributed


def share_of_step(pairs: list[Any], processes: SingleProcess) -> list[Any]:
    """This process's share of a step's pairs: all shares are as large, and the mean over them is
    the mean over the step. Where its pairs do not divide, each stands in it as often as makes them
    divide; no process then has more to do than one alone would have.
    """
    times = processes.count // math.gcd(len(pairs), processes.count)
    return (pairs * times)[processes.share(len(pairs) * times)]
