"""The files of a search for noise levels: the rows of its finished images."""

from collections.abc import Mapping, Sequence
from typing import Any

from raysmooth.pipeline.store.manifest import SIGMAS, RunFolder
from raysmooth.pipeline.store.part_store import PartStore
from raysmooth.pipeline.store.parts import foreign, read_part, read_parts
from raysmooth.pipeline.store.sigma_rows import SIGMAS_SCHEMA, bad_sigmas
from raysmooth.storage.location import Where


class SearchStore(PartStore):
    """The rows of one search in `<out>/sigmas`. Raises as `PartStore`."""

    def __init__(self, out: Where, manifest: dict[str, Any]) -> None:
        run = RunFolder.of(out, manifest["run_id"])
        super().__init__(run, {SIGMAS: (run.rows(SIGMAS), SIGMAS_SCHEMA)}, manifest)

    def add_image(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """All rows of one image, which reach the disk together."""
        self._waiting[SIGMAS].rows.extend(map(dict, rows))
        self.finished.add(rows[0]["image_id"])

    def _read_earlier(self) -> None:
        self.finished = set()
        for file, table in read_parts(list(self._own_parts(SIGMAS)), read_part):
            if (wrong := bad_sigmas(table, self.manifest)) is not None:
                raise foreign(file, wrong)
            images = set(table["image_id"].to_pylist())
            if self.finished & images:
                raise foreign(file, "holds images that another part holds too, as a copy would")
            self.finished |= images
