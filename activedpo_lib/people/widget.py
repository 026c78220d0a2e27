"""The labelling widget of JupyterLab: keys in, a `Labelling` asked, what it shows sent back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from activedpo_lib.people.labelling import Labelling, Shown

HERE = Path(__file__).parent


class LabelWidget(anywidget.AnyWidget):
    """Shows a Labelling's pairs and stores the answers: left and right arrow, T for a tie, S to
    skip, U to undo; focus it first (click, or Tab).

    JupyterLab may run the handler on another thread: one key at a time, by a lock, and the file is
    opened anew for each. An answer that could not be stored is said, and the pair stays.
    """

    _esm = HERE / "widget.js"
    _css = HERE / "widget.css"
    shown = traitlets.Dict().tag(sync=True)

    def __init__(self, labelling: Labelling) -> None:
        self.labelling = labelling
        self._lock, self._turn = threading.Lock(), 0
        super().__init__(shown=self._as_dict(labelling.shown()))
        self.on_msg(self._pressed)

    def _as_dict(self, shown: Shown) -> dict[str, Any]:
        # `turn` makes every answer a change, also where the pair stays the same.
        self._turn += 1
        return {**shown._asdict(), "trouble": "", "turn": self._turn}

    def _pressed(self, _: Any, message: dict[str, Any], __: Any) -> None:
        with self._lock:
            try:
                self.shown = self._as_dict(self.labelling.press(message["key"], message["pair"]))
            except Exception as error:  # a handler's error is seen by nobody: show it
                trouble = f"Not stored: {error}"
                self._turn += 1
                self.shown = {**self.shown, "trouble": trouble, "turn": self._turn}
