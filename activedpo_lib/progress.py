"""Long passes say how far they are (floor 0)."""

import time


class Progress:
    """Called with the number done so far, says a line every `every` seconds: share, rate, and the time left."""

    def __init__(self, what, total, say=print, every=15.0, clock=time.monotonic):
        self._what, self._total, self._say, self._every, self._clock = what, total, say, every, clock
        self._start = self._last = clock()
        self._first = None

    def __call__(self, done):
        now = self._clock()
        if self._first is None:  # where a resumed pass began: its rate is that of this process
            self._first, self._start = done, now
        if now - self._last < self._every or done <= self._first:
            return
        self._last = now
        rate = (done - self._first) / (now - self._start)
        left = (self._total - done) / rate
        self._say(f"{self._what}: {done:,}/{self._total:,}, {rate:.1f}/s, {left / 60:.1f} min left")
