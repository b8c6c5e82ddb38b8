"""Progress in a notebook: one block of notes and bars, updated in place; a saved notebook keeps its last state.

It needs no widgets: IPython replaces the block by its display id, in every front end and in an executed notebook.
"""

import sys
from html import escape
from io import StringIO
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TaskID
from rich.theme import Theme

_REFRESH_SECONDS = 0.25

NOTEBOOK_WIDTH = 100
"""Characters of a bar's line."""

_THEME = Theme(
    {
        "bar.back": "grey74",
        "bar.complete": "dodger_blue2",
        "bar.finished": "green4",
        "progress.elapsed": "default",
        "progress.remaining": "default",
        "cyan": "default",
    }
)
"""Readable on white and on black."""

_STYLE = "margin: 0; white-space: pre-wrap; line-height: 1.3; font-size: 90%"


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook; IPython in a terminal is none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class NotebookBars(Progress):
    """rich's bars, of which no thread draws anything: they are shown when they change, a few times in a second."""

    def __init__(self, *columns: ProgressColumn, **options: Any) -> None:
        super().__init__(*columns, auto_refresh=False, console=_console(), **options)
        self._lines: list[str] = []
        self._handle: Any = None
        self._shown = 0.0

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._lines.append(text)
        self._show()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        if self.tasks or self._lines:
            self._show()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        if monotonic() - self._shown > _REFRESH_SECONDS:
            self._show()

    def _show(self) -> None:
        from IPython.display import display

        self._shown = monotonic()
        content = self._content()
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def _content(self) -> dict[str, str]:
        """The block as text and as HTML."""
        notes = "\n".join(self._lines)
        if not self.tasks:
            return {"text/plain": notes, "text/html": f'<pre style="{_STYLE}">{escape(notes)}</pre>'}
        console = _console(record=True)
        console.print(self.get_renderable())
        bars = console.export_html(code_format="{code}", inline_styles=True, clear=False).rstrip()
        html = f'<pre style="{_STYLE}">{escape(notes)}</pre><pre style="{_STYLE}; overflow-x: auto">{bars}</pre>'
        return {"text/plain": f"{notes}\n{console.export_text().rstrip()}".lstrip(), "text/html": html}


def _console(record: bool = False) -> Console:
    return Console(
        file=StringIO(), force_jupyter=False, force_terminal=True, color_system="truecolor", width=NOTEBOOK_WIDTH,
        theme=_THEME, record=record, legacy_windows=False,
    )  # fmt: skip
