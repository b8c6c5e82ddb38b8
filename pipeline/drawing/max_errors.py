"""When too many images of a run have failed for it to continue."""

from collections.abc import Mapping, Sequence
from typing import Any

from raysmooth.common.errors import RaysmoothError, named_image


def refuse_many(errors: Sequence[Mapping[str, Any]], most: int) -> None:
    """Raises RaysmoothError if there are more error rows than `most`, as the settings say."""
    if len(errors) > most:
        first = errors[0]
        raise RaysmoothError(
            f"stopped: {len(errors)} images failed (--max-errors {most}); "
            f"the first, {named_image(first['image_id'], first['file'])}: {first['error']}"
        )
