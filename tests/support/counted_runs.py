"""Runs on disk with counts as given: manifests, counts and rows as if they had been drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from raysmooth.actors.noise.families import noise_family
from raysmooth.actors.noise.role import Role
from raysmooth.pipeline.analysis.metrics import decided_at
from raysmooth.pipeline.certification.sampling_rule import Fixed
from raysmooth.pipeline.runs.base_run import SCHEME
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.run_store import CountedBlock, RunStore

CERTIFY = PROCEDURES["certify"]

BLOCK, N0 = 50, 20


def stored_run(
    out: Path,
    images: Sequence[Sequence[Sequence[int]]],
    bad: Sequence[int] = (),
    of: int | None = None,
    recorded: Mapping[str, Any] | None = None,
    **facts: Any,
) -> str:
    """A run as if it had been drawn: of each image the label counts of its blocks of BLOCK draws, first those of its
    N0 selection draws. Images `bad` are error rows. Called again, it goes on. `recorded` are further keys of its
    manifest, `facts` of its identity. Returns its id.
    """
    n = max(sum(map(sum, blocks[1:])) for blocks in images)
    identity: dict[str, Any] = {"scheme": SCHEME, "procedure": "certify", "dataset": "digits", "split": "test"}
    identity |= {"index_set": "some", "classifier": "c", "denoiser": "none", "classifier_fingerprint": "f"}
    identity |= {"denoiser_fingerprint": None, "source": None, "noise": "gaussian", "norm": "l2", "sigma": 0.5}
    identity |= {"sampling": "fixed", "n0": N0, "n": n, "alpha": 0.001, "images": of or len(images)}
    identity |= {"block_size": BLOCK, "seed": 0, "data_fingerprint": "d", "preprocess": "none", "device": "cpu"}
    identity |= {"threads": 1, **facts}
    manifest = {"run_id": run_id(identity), "identity": identity, "settings": {}, "objective": "clean"}
    manifest |= {"num_classes": len(images[0][0]), "image_shape": [1, 4, 4], **(recorded or {})}
    columns = {name: value for name, value in identity.items() if name in CERTIFY.schema.names}
    columns["objective"] = "clean"
    with RunStore(out, CERTIFY.folder, CERTIFY.schema, manifest) as store:
        for image_id, blocks in enumerate(images):
            if image_id in store.finished:
                continue
            counts = {Role.SELECTION: np.array(blocks[0]), Role.ESTIMATION: np.sum(blocks[1:], axis=0)}
            for place, given_ in enumerate(blocks):
                role = Role.ESTIMATION if place else Role.SELECTION
                store.add_block(CountedBlock(image_id, role, max(0, place - 1), sum(given_), np.array(given_), 0, 0.25))
            if image_id in bad:
                store.add_row(CERTIFY.error_row(columns, image_id, None, "NaN", 0.5))
                continue
            noise = noise_family(identity["noise"], identity["sigma"], identity["norm"], 16)
            rule = Fixed(N0, n, identity["alpha"], noise, rejecting=identity.get("rejector") is not None)
            concluded = rule.conclude(counts)
            if (decided := decided_at(identity["sampling"])) < inf and concluded.radius:
                concluded = replace(concluded, radius=decided)
            store.add_row(CERTIFY.finished_row(columns, image_id, 0, counts, concluded, 0.25 * len(blocks)))
    return manifest["run_id"]


EASY = [[20, 0, 0], [48, 2, 0], [45, 3, 2], [50, 0, 0], [10, 0, 0]]
HARD = [[15, 5, 0], [25, 13, 12], [26, 14, 10], [22, 14, 14], [5, 3, 2]]
LOST = [[5, 15, 0], [20, 20, 10], [20, 20, 10], [20, 20, 10], [4, 4, 2]]
