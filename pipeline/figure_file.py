"""Figures as files: PNG or PDF, by the end of their name."""

from io import BytesIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from actors.refusal import Refusal
from actors.store_urls import is_url
from pipeline.location import Location, located

ENDINGS = (".png", ".pdf")
DPI = 150


def figure_path(path: str | Path | Location, flag: str) -> Location:
    """The file that `flag` names, its folder made; raises Refusal for another ending, and where nothing can be written:
    before the work that the figure takes.
    """
    file = located(path if isinstance(path, Location) or is_url(path) else Path(path).expanduser())
    if _ending(file) not in ENDINGS:
        raise Refusal(f"{flag} {path}: write a name that ends in {' or '.join(ENDINGS)}")
    try:
        file.parent.make_folder()
    except OSError as error:
        raise Refusal(f"{flag} {path}: {error.strerror or error}: write a folder that can be written to") from None
    return file


def save_figure(figure: Figure, file: Location, flag: str) -> None:
    """Write `figure` to `file`, whole or not at all; raises Refusal where that cannot be written."""
    drawn = BytesIO()
    with rc_context({"pdf.fonttype": 42}):  # because publishers refuse matplotlib's default, Type 3
        figure.savefig(drawn, format=_ending(file)[1:], dpi=DPI)
    try:
        file.write_whole(drawn.getvalue(), durable=False)
    except OSError as error:
        raise Refusal(f"{flag} {file}: {error.strerror or error}: write a folder that can be written to") from None


def _ending(file: Location) -> str:
    return Path(file.name).suffix.lower()
