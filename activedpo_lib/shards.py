"""Work in one process or shared by many: slices of what is to be done, and the exchanges between
them.
"""

import torch.distributed as dist


class Alone:
    """One process does and holds everything."""

    rank, count = 0, 1

    def share(self, total):
        """The slice of `total` items that is this process's, in the order of the ranks."""
        return slice(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    def collect(self, items):
        """All processes' lists, one after the other, on every process."""
        return items

    def sizes(self, size):
        """Every process's number of pairs, and which of them is ours."""
        return [size], 0

    def largest(self, value):
        """The largest of all processes' values."""
        return value

    def first(self, key, payload):
        """payload() of the process with the smallest key; a process without a contender has the key
        None.
        """
        return payload()


class Processes(Alone):
    """Each process of a torch.distributed group (`accelerate launch`, torchrun) has a slice, in the
    order of the ranks.
    """

    def __init__(self, group=None):
        self._group, self.rank, self.count = group, dist.get_rank(group), dist.get_world_size(group)

    def collect(self, items):
        """As Alone.collect."""
        return [item for part in self._gather(items) for item in part]

    def _gather(self, value):
        values = [None] * self.count
        dist.all_gather_object(values, value, group=self._group)
        return values

    def sizes(self, size):
        """As Alone.sizes."""
        return self._gather(size), self.rank

    def largest(self, value):
        """As Alone.largest."""
        return max(self._gather(value))

    def first(self, key, payload):
        """As Alone.first; equal keys: the lower rank's."""
        keys = self._gather(key)
        winner = min((k, rank) for rank, k in enumerate(keys) if k is not None)[1]
        held = [payload() if winner == self.rank else None]
        dist.broadcast_object_list(held, group=self._group, group_src=winner)
        return held[0]


def shards():
    """Processes where torch.distributed was started, else Alone."""
    return Processes() if dist.is_available() and dist.is_initialized() else Alone()
