"""A pool in one process or sliced over many (floor 0): the three exchanges that greedy selection needs of the others."""

import torch.distributed as dist


class Alone:
    """One process holds the whole pool."""

    def sizes(self, size):
        """Every process's number of pairs, and which of them is ours."""
        return [size], 0

    def largest(self, value):
        """The largest of all processes' values."""
        return value

    def first(self, key, payload):
        """payload() of the process with the smallest key; a process without a contender has the key None."""
        return payload()


class Processes:
    """Each process of a torch.distributed group (`accelerate launch`, torchrun) holds a slice, in the order of the ranks."""

    def __init__(self, group=None):
        self._group, self._rank, self._count = group, dist.get_rank(group), dist.get_world_size(group)

    def _gather(self, value):
        values = [None] * self._count
        dist.all_gather_object(values, value, group=self._group)
        return values

    def sizes(self, size):
        """As Alone.sizes."""
        return self._gather(size), self._rank

    def largest(self, value):
        """As Alone.largest."""
        return max(self._gather(value))

    def first(self, key, payload):
        """As Alone.first; equal keys: the lower rank's."""
        keys = self._gather(key)
        winner = min((k, rank) for rank, k in enumerate(keys) if k is not None)[1]
        held = [payload() if winner == self._rank else None]
        dist.broadcast_object_list(held, group=self._group, group_src=winner)
        return held[0]


def shards():
    """Processes where torch.distributed was started, else Alone."""
    return Processes() if dist.is_available() and dist.is_initialized() else Alone()
