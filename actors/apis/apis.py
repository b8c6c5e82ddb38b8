"""The vision APIs that can be a base classifier: the registry behind `--classifier google:...`."""

from raysmooth.actors.apis.vision_api import ApiEntry
from raysmooth.common.registry import Registry
from raysmooth.common.settings import read_options
from raysmooth.common.variant import Variant

VISION_APIS: Registry[ApiEntry] = Registry("vision API", {})


def is_api(classifier: str) -> bool:
    """Whether a `--classifier` names a vision API; False for text that names nothing."""
    return classifier.partition(":")[0].strip() in VISION_APIS


def read_api(classifier: str) -> tuple[Variant, ApiEntry, object]:
    """The API that `classifier` names, in canonical form, its entry, and its options.

    Raises RaysmoothError for an unknown API and for options that it does not have or refuses.
    """
    written = Variant.parse_entry(classifier, "vision API", "google:max_results=10")
    entry = VISION_APIS[written.name]
    return written, entry, read_options(entry.options, written, "vision API")
