"""What the Python API returns for a file that was written: a path that a notebook shows as its content."""

import os
from base64 import b64encode
from collections.abc import Hashable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from raysmooth.pipeline.report.figures.figure_file import DPI
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.storage.location import Location

_ON_SCREEN = 1.6
"""How much larger than on paper a figure is in a notebook."""


class WrittenFile(os.PathLike[str]):
    """A file that was written: `path`, or its location in an object store. It can be given wherever a path can."""

    def __init__(self, path: Path | Location) -> None:
        self.path = path

    def __fspath__(self) -> str:
        """Raises TypeError for an object of a store, which has no path."""
        if isinstance(self.path, Location):
            raise TypeError(f"{self.path} is an object of a store, not a file of this machine")
        return os.fspath(self.path)

    def __eq__(self, other: object) -> bool:
        return self.path == (other.path if isinstance(other, WrittenFile) else other)

    def __hash__(self) -> int:
        return hash(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class FigureFile(WrittenFile):
    """The file of a figure, shown as the picture. `lines` say in words what it shows."""

    def __init__(self, path: Path | Location, figure: Figure, lines: Sequence[str] = ()) -> None:
        super().__init__(path)
        self._figure, self.lines = figure, list(lines)

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        FigureCanvasAgg(self._figure).print_png(content)
        return content.getvalue()

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *self.lines])


class ReportFiles(WrittenFile):
    """A report, shown as its tables and figures. `path` is its page, `files` are all its files, `tables` the tables
    that it shows.
    """

    def __init__(self, files: Sequence[Path | Location], tables: Sequence[PrintedTable]) -> None:
        super().__init__(next(file for file in files if file.name == "report.html"))
        self.files, self.tables = list(files), list(tables)
        self._html = html_of(tables, files)

    def _repr_html_(self) -> str:
        return self._html


def html_of(tables: Sequence[PrintedTable], files: Sequence[Path | Location]) -> str:
    """The tables, and the figures among `files` in their text, for a notebook."""
    parts = [_table(table) for table in tables]
    parts += [_picture(file) for file in files if file.name.endswith(".png")]
    return "\n".join(parts)


def _table(table: PrintedTable) -> str:
    """A table with its title above and its caption below."""
    cells = table.cells.reset_index(drop=True)
    words: list[Hashable] = [column for column in cells if column in table.text_columns]
    style = cells.style.hide(axis="index").format(escape="html").format_index(escape="html", axis="columns")
    style = style.set_uuid(f"raysmooth-{table.name}").set_properties(subset=words, **{"text-align": "left"})
    style = style.apply(lambda _: table.marked("font-weight: bold").to_numpy(), axis=None)
    return (
        f"<p><strong>{escape(table.title)}</strong></p>\n"
        f'<div style="overflow-x: auto">{style.to_html()}</div>\n'
        f"<p><small>{escape(table.caption)}</small></p>"
    )


def _picture(file: Path | Location) -> str:
    content, name = file.read_bytes(), escape(Path(file.name).stem)
    with Image.open(BytesIO(content)) as image:
        inches = image.width / image.info.get("dpi", (DPI,))[0]
    style = f"width: {_ON_SCREEN * inches:.2f}in; max-width: 100%; background: white"
    return f'<img alt="{name}" style="{style}" src="data:image/png;base64,{b64encode(content).decode()}">'
