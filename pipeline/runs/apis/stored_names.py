"""What the codes of a run's labels are called, by its manifest and the vocabulary of its folder of results."""

from collections.abc import Mapping
from typing import Any

from raysmooth.common.errors import printable
from raysmooth.pipeline.data.summary import class_names_of
from raysmooth.pipeline.queries.vocabulary import read_vocabulary
from raysmooth.pipeline.runs.apis.open_labels import first_open, refuse_lost_labels, vocabulary_file
from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.storage.location import Where


def stored_names(manifest: Mapping[str, Any], out: Where) -> dict[int, str]:
    """The names of classes by label. Those of an API's own labels are in `manifest`, the run's, where they are closed,
    and in the vocabulary of `out` where they are open; those of other runs are the data's. A manifest may be of another
    version, or edited: what is no name is passed over. Raises RaysmoothError for a vocabulary that cannot be read,
    or lacks labels that the run has.
    """
    queries = manifest.get("queries")
    if not isinstance(queries, Mapping):
        return class_names_of(manifest.get("data"))
    closed, first = queries.get("names"), first_open(manifest)
    names = {code: printable(str(name)) for code, name in enumerate(closed if isinstance(closed, list) else [])}
    if first is not None:
        labels = read_vocabulary(vocabulary_file(out))
        if isinstance(name := manifest.get("run_id"), str):
            refuse_lost_labels(RunFolder.of(out, name), manifest, labels)
        names |= {code: printable(label) for code, label in enumerate(labels, first)}
    return names
