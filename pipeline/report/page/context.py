"""What the caller of a page knows and its data do not: what it is a page of, how it was made, a certified image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raysmooth.pipeline.report.page.headline import Headline
from raysmooth.pipeline.report.report_data import ReportData


@dataclass(frozen=True)
class Shown:
    """One picture: the bytes of a PNG, its title, its description for readers who cannot see it, the answer below it,
    and whether that is right (None: neither right nor wrong). `is_small`: every pixel is to be visible.
    """

    png: bytes
    title: str
    alt: str
    below: str = ""
    right: bool | None = None
    is_small: bool = False


@dataclass(frozen=True)
class CertifiedImage:
    """An image as it was certified: `rows` of pictures (None leaves a gap), the `votes` of its draws (class, count,
    share of all draws) below their title, and its certificate in words. `note` says what is missing.
    """

    heading: str
    rows: Sequence[Sequence[Shown | None]]
    votes: Sequence[tuple[str, int, float]]
    votes_title: str
    statement: str
    evidence: str
    note: str = ""


@dataclass(frozen=True)
class PageContext:
    """`warning`, `title` and `lead`, paragraphs, stand above everything. `command` made the page. `image` makes the
    picture of the headline's image, or raises RaysmoothError with the reason why it cannot. `differences` are those
    from a paper.
    """

    title: str | None = None
    lead: Sequence[str] = ()
    warning: str | None = None
    command: str | None = None
    image: Callable[[ReportData, Headline], CertifiedImage] | None = None
    differences: Sequence[str] = ()
