"""Figures as files: PNG or PDF, by the end of their name."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.text import Text

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.output_file import refuse_unwritable, write_output
from raysmooth.storage.store_urls import is_url

DPI = 150

_PRINTERS: dict[str, Callable[[Figure, BytesIO], object]] = {
    ".png": lambda figure, file: FigureCanvasAgg(figure).print_png(file),
    ".pdf": lambda figure, file: FigureCanvasPdf(figure).print_pdf(file),
}
"""Not savefig, which goes through every figure twice."""


def figure_path(path: Where, flag: str) -> Location:
    """The file that `flag` names, its folder made; raises RaysmoothError for another ending, and where nothing can be written:
    before the work that the figure takes.
    """
    file = located(path if isinstance(path, Location) or is_url(path) else Path(path).expanduser())
    if _ending(file) not in _PRINTERS:
        raise RaysmoothError(f"{flag} {path}: write a name that ends in {' or '.join(_PRINTERS)}")
    with refuse_unwritable(file, flag):
        file.parent.make_folder()
    return file


def save_figure(figure: Figure, *files: Where, flag: str) -> None:
    """Write `figure` to each of `files`, whole or not at all; raises RaysmoothError, naming `flag`, where one cannot be
    written. Dollar signs are what they are, and begin no formula: names are a user's.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    figure.set_dpi(DPI)
    for file in files:
        drawn = BytesIO()
        # fonttype 42, because publishers refuse matplotlib's default, Type 3. Ticks may be made only now.
        with rc_context({"pdf.fonttype": 42, "text.parse_math": False}):
            _PRINTERS[_ending(located(file))](figure, drawn)
        write_output(drawn.getvalue(), file, flag)
        figure.set_layout_engine("none")  # it is laid out now


def _ending(file: Location) -> str:
    return Path(file.name).suffix.lower()
