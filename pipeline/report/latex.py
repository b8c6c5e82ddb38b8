"""Captions and figures in LaTeX."""

import re

import pandas as pd

from raysmooth.pipeline.report.symbols import with_formulas


def latex_words(words: str) -> str:
    """`words`, escaped as a table's only cell: pandas escapes cells but not captions."""
    style = pd.DataFrame({"": [words]}).style.hide(axis="index").hide(axis="columns").format(escape="latex")
    return style.to_latex().splitlines()[1].removesuffix(r" \\")


def latex_caption(words: str) -> str:
    return with_formulas(latex_words(words))


def latex_label(kind: str, title: str) -> str:
    """A label such as "tab:noise-levels", of letters, digits and hyphens whatever the title holds."""
    return f"{kind}:{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}"


def latex_figure(file: str, caption: str, title: str, spans_page: bool = False) -> str:
    """A `figure` environment that includes `file` in its own size, centred, with caption and label; needs the package
    graphicx. `spans_page`: across both columns.
    """
    name = "figure*" if spans_page else "figure"
    return (
        f"\\begin{{{name}}}[t]\n\\centering\n\\includegraphics{{{file}}}\n\\caption{{{latex_caption(caption)}}}\n"
        f"\\label{{{latex_label('fig', title)}}}\n\\end{{{name}}}\n"
    )
