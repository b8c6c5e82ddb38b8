"""What the codes of a run's labels are called, by its manifest and the vocabulary of its folder of results."""

from collections.abc import Mapping
from typing import Any

from raysmooth.common.errors import printable
from raysmooth.pipeline.data.summary import class_names_of
from raysmooth.pipeline.queries.vocabulary import VOCABULARY, read_vocabulary
from raysmooth.pipeline.runs.apis.api_facts import QUERIES
from raysmooth.storage.location import Where, located


def stored_names(manifest: Mapping[str, Any], out: Where) -> dict[int, str]:
    """The names of classes by label. Those of an API's own labels are in `manifest`, the run's, where they are closed,
    and in the vocabulary of `out` where they are open; those of other runs are the data's. A manifest may be of another
    version, or edited: what is no name is passed over. Raises RaysmoothError for a vocabulary that cannot be read.
    """
    queries = manifest.get("queries")
    if not isinstance(queries, Mapping):
        return class_names_of(manifest.get("data"))
    closed, first = queries.get("names"), queries.get("open_from")
    names = {code: printable(str(name)) for code, name in enumerate(closed if isinstance(closed, list) else [])}
    if isinstance(first, int) and not isinstance(first, bool) and first >= 0:
        labels = read_vocabulary(located(out) / QUERIES / VOCABULARY)
        names |= {code: printable(label) for code, label in enumerate(labels, first)}
    return names
