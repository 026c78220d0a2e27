"""Float32 rows too many for memory: on the device while they are few, else in a file that a stopped
pass resumes.
"""

from pathlib import Path

import numpy as np
import torch

MIB = 1 << 20


class MemmapRows:
    """An (n, d) float32 matrix filled in any order.

    It is a tensor on `device`; where it is larger than `limit_mib` MiB and there is a `folder`, it
    is a file there, named `name` and by the digest `made_from` of all that it is computed from:
    opened again, it still has the rows that were put.
    """

    def __init__(
        self, count, dimensions, device="cpu", folder=None, name="rows", made_from="", limit_mib=64
    ):
        self.values, self._done = None, np.zeros(count, dtype=bool)
        if folder is None or count * dimensions * 4 <= limit_mib * MIB:
            self.values = torch.zeros(count, dimensions, device=device)
            return
        path = Path(folder) / f"{name}-{made_from}.f32"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _mapped(path, (count, dimensions), np.float32)
        self._done = _mapped(path.with_suffix(".done"), (count,), bool)

    def has(self, rows):
        """Whether these rows were put before, by this process or by one that was stopped."""
        return bool(self._done[rows].all())

    def count(self):
        """How many rows were put."""
        return int(self._done.sum())

    def put(self, rows, values):
        """Set `rows` to `values` (m, d); on disk before they count as done."""
        if self.values is None:
            self._file[rows] = values.float().cpu().numpy()
            self._file.flush()
        else:
            self.values[rows] = values.float().to(self.values.device)
        self._done[rows] = True

    def numpy(self):
        """The matrix as an array, memory-mapped where it is a file."""
        return self._file if self.values is None else self.values.cpu().numpy()


def _mapped(path, shape, dtype):
    """The file as a writable array; new files, and those of another size, start as zeros."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    whole = path.is_file() and path.stat().st_size == size
    return np.memmap(path, dtype=dtype, mode="r+" if whole else "w+", shape=shape)
