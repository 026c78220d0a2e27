"""Work in one process or shared by many: slices of what is to be done, and the meetings between
the processes. Only the rounds (`runs/`) and greedy selection meet; all else works as if alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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

    def first(self, order: float | None, payload: Callable[[], Any]) -> Any:
        """payload() of the process with the smallest `order`; None for one without a contender."""
        return payload()

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
        return [item for part in self._gather(items) for item in part]

    def _gather(self, value: Any) -> list[Any]:
        values = [None] * self.count
        self._dist.all_gather_object(values, value, group=self._group)
        return values

    def largest(self, value: float) -> float:
        """As SingleProcess.largest."""
        return max(self._gather(value))

    def first(self, order: float | None, payload: Callable[[], Any]) -> Any:
        """As SingleProcess.first; where the smallest is level, the lower rank's."""
        orders = self._gather(order)
        winner = min((at, rank) for rank, at in enumerate(orders) if at is not None)[1]
        held = [payload() if winner == self.rank else None]
        self._dist.broadcast_object_list(held, group=self._group, group_src=winner)
        return held[0]


def processes() -> SingleProcess:
    """The ProcessGroup where torch.distributed was started, else a SingleProcess."""
    dist = _distributed()
    return ProcessGroup() if dist.is_available() and dist.is_initialized() else SingleProcess()


def _distributed() -> Any:
    import torch.distributed  # torch takes a second, and records that name this module do without

    return torch.distributed
