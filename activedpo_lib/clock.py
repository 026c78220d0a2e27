"""Wall and CPU seconds by part of a round (floor 0)."""

import time


class Clock:
    """Wall seconds by part of a round, and the process's CPU seconds over all of it."""

    def __init__(self):
        self._parts, self._cpu = {}, time.process_time()

    def __call__(self, part):
        self._part = part
        return self

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._parts[f"seconds_{self._part}"] = time.perf_counter() - self._start

    def row(self):
        """Columns: `seconds` (the parts' sum), `cpu_seconds`, and each part's seconds."""
        return {"seconds": sum(self._parts.values()), "cpu_seconds": time.process_time() - self._cpu, **self._parts}
