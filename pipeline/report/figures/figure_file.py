"""Figures as files: PNG or PDF, by the ending of their name."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.text import Text

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.report.figures.figure_text import is_formula
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.output_file import refuse_unwritable, write_output
from raysmooth.storage.store_urls import is_url

DPI, PAPER_DPI = 150, 300
"""Pixels an inch of PNG files: of figures for screens, and of those for papers, which are small."""

_PRINTERS: dict[str, Callable[[Figure, BytesIO], object]] = {
    ".png": lambda figure, file: FigureCanvasAgg(figure).print_png(file),
    ".pdf": lambda figure, file: FigureCanvasPdf(figure).print_pdf(file),
}
"""Not savefig, which renders every figure twice."""


def figure_path(path: Where, flag: str) -> Location:
    """The file that `flag` names, its folder created. Raises RaysmoothError for another ending and for a folder that
    cannot be written, before the work that the figure takes.
    """
    file = located(path if isinstance(path, Location) or is_url(path) else Path(path).expanduser())
    if _ending(file) not in _PRINTERS:
        raise RaysmoothError(f"{flag} {path}: write a name that ends in {' or '.join(_PRINTERS)}")
    with refuse_unwritable(file, flag):
        file.parent.make_folder()
    return file


def save_figure(figure: Figure, *files: Where, flag: str, dpi: int = DPI) -> None:
    """Write `figure` to each of `files`, atomically; raises RaysmoothError, naming `flag`, where one cannot be written.
    Dollar signs appear as such and start no formula, as users' names may contain them; except in texts of
    `set_formula`.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(is_formula(text))
    for file in files:
        content = BytesIO()
        figure.set_dpi(dpi)  # a PDF leaves its own
        # fonttype 42, because publishers refuse matplotlib's default, Type 3. Some ticks are created only here.
        with rc_context({"pdf.fonttype": 42, "text.parse_math": False}):
            _PRINTERS[_ending(located(file))](figure, content)
        write_output(content.getvalue(), file, flag)
        figure.set_layout_engine("none")  # the layout is done


def _ending(file: Location) -> str:
    return Path(file.name).suffix.lower()
