"""Figures as files: PNG or PDF, by the end of their name."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from actors.refusal import Refusal
from actors.whole_file import written_whole

ENDINGS = (".png", ".pdf")
DPI = 150


def figure_path(path: str | Path, flag: str) -> Path:
    """The file that `flag` names, its folder made; raises Refusal for another ending, and where nothing can be written:
    before the work that the figure takes.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() not in ENDINGS:
        raise Refusal(f"{flag} {path}: write a name that ends in {' or '.join(ENDINGS)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"{flag} {path}: {error.strerror or error}: write a folder that can be written to") from None
    return file


def save_figure(figure: Figure, file: Path, flag: str) -> None:
    """Write `figure` to `file`, whole or not at all; raises Refusal where that cannot be written."""
    try:
        # fonttype 42, because publishers refuse matplotlib's default, Type 3.
        with rc_context({"pdf.fonttype": 42}), written_whole(file) as partial:
            figure.savefig(partial, format=file.suffix[1:].lower(), dpi=DPI)
    except OSError as error:
        raise Refusal(f"{flag} {file}: {error.strerror or error}: write a folder that can be written to") from None
