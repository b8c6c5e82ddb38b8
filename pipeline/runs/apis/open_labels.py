"""The labels that runs of a folder of results share, and whether those are there whose codes the folder's counts and
rows have: a vocabulary that was lost, or is an older copy, would give their codes to other labels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.queries.query_folder import QUERIES
from raysmooth.pipeline.queries.vocabulary import OPEN_LABELS, UNLABELLED, VOCABULARY, OpenVocabulary
from raysmooth.pipeline.store.manifest import ROW_FOLDERS, RunFolder, manifests
from raysmooth.pipeline.store.parts import part_files, read_part, read_parts
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.records import shown_path

_NAMED = ("label", "prediction")
"""Columns of rows that have codes, whose names are beside them in `<column>_name`."""


def vocabulary_file(out: Where) -> Location:
    """Where the labels of the runs in `out` are."""
    return located(out) / QUERIES / VOCABULARY


def open_vocabulary(out: Where, verify: Callable[[], object] | None = None) -> OpenVocabulary:
    """The labels that runs in `out` have met so far: to be read only, unless `verify` is given, as `OpenVocabulary` has
    it. Then, as new labels take the next codes, it raises RaysmoothError where codes are in use whose labels are not
    there.
    """
    vocabulary = OpenVocabulary(vocabulary_file(out), verify)
    if verify is not None:
        for run, manifest in manifests(out, "queries", skip_bad=True):
            refuse_lost_labels(run, manifest, vocabulary.labels)
    return vocabulary


def refuse_lost_labels(run: RunFolder, manifest: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Raises RaysmoothError if `labels` are not those whose codes the counts and rows of a run have."""
    first = first_open(manifest)
    if first is None:
        return
    file = vocabulary_file(run.out)
    for code, name in _codes_in_use(run, first):
        found = labels[code] if code < len(labels) else None
        if found is None or (name is not None and printable(name) != printable(found)):
            wrong = "is missing" if not file.exists() else f"has no label with the code {code}"
            wrong = wrong if found is None else f"has '{printable(found)}' as the label with the code {code}"
            raise RaysmoothError(
                f"{shown_path(file)} {wrong}, which run {run.run_id} has counts or rows of"
                + (f" as '{printable(name)}'" if name is not None else "")
                + ": restore the file from a copy. Or move "
                f"{shown_path(run.out)}/runs and its folders of rows away, and leave queries/: the same commands then "
                "make the runs again from the query log, which asks for nothing twice"
            )


def first_open(manifest: Mapping[str, Any]) -> int | None:
    """The code from which on the labels of a run are open, by its manifest, which may be of another version or edited;
    None where there is none.
    """
    queries = manifest.get("queries")
    first = queries.get("open_from") if isinstance(queries, Mapping) else None
    return first if isinstance(first, int) and not isinstance(first, bool) and first >= 0 else None


def _codes_in_use(run: RunFolder, first: int) -> Iterator[tuple[int, str | None]]:
    """Codes of the vocabulary that a run has used, among them the largest, with their names where rows have them."""
    classes = first + OPEN_LABELS
    for _, counts in read_parts(part_files(run.counts), lambda file: read_part(file, ["labels"])):
        # Of 2 K labels the second K are of rejected draws, and the last of K stand for no label.
        codes = {code % classes - first for code in pc.unique(pc.list_flatten(counts["labels"])).to_pylist()}
        if used := [code for code in codes if 0 <= code < OPEN_LABELS - UNLABELLED]:
            yield max(used), None
    columns = [name for column in _NAMED for name in (column, f"{column}_name")]
    for folder in ROW_FOLDERS.values():
        for _, rows in read_parts(part_files(run.rows(folder)), lambda file: read_part(file, columns)):
            for column in _NAMED:
                yield from _named(rows, column, first)


def _named(rows: pa.Table, column: str, first: int) -> Iterator[tuple[int, str | None]]:
    if not {column, f"{column}_name"} <= {*rows.column_names}:
        return
    pairs = {*zip(rows[column].to_pylist(), rows[f"{column}_name"].to_pylist(), strict=True)}
    for code, name in pairs:
        if code is not None and 0 <= code - first < OPEN_LABELS - UNLABELLED:
            yield code - first, name
