"""What a run of a vision API needs to know before anything is asked: the API's facts, its labels, and the denoiser in
front of it. Torch is loaded for a denoiser alone, and not where an earlier run has recorded what that is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.apis.vision_api import ApiEntry
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.models.rejectors import UNANSWERED
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.queries.pictures import check_channels, read_encoding, read_upscale
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.common.errors import RaysmoothError, counted, printable
from raysmooth.common.hashing import settings_hash
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.datasets import Dataset
from raysmooth.pipeline.queries.accepted import Accepted, read_accepted
from raysmooth.pipeline.queries.identity import NUMBERS
from raysmooth.pipeline.queries.label_rules import LabelRule, read_label_rule
from raysmooth.pipeline.queries.labelling import Labelling, vocabulary_of
from raysmooth.pipeline.queries.vocabulary import OpenVocabulary
from raysmooth.pipeline.runs.apis.open_labels import open_vocabulary
from raysmooth.pipeline.runs.network_facts import NetworkFacts, made_from
from raysmooth.pipeline.runs.noise_mismatch import denoiser_mismatches, describe
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.manifest import manifests

USUAL_RULE, USUAL_ENCODING, NOT_UPSCALED = "top", "png", "none"
"""Of the settings with these values a report says nothing."""

OWN_ANSWER = "correct means the API's own answer to the image without noise; write --accepted for real labels"


@dataclass(frozen=True)
class AskedLabels:
    """How an answer becomes a label: the rule, the API's own closed list of labels, and the accepted ones of the data's
    classes; None where there is none.
    """

    rule: LabelRule
    closed: Sequence[str] | None
    accepted: Accepted | None

    def with_open(self, open_labels: OpenVocabulary) -> Labelling:
        """The labelling, whose labels are `open_labels` where they are not closed."""
        return Labelling(self.rule, vocabulary_of(open_labels, self.rule, self.closed, self.accepted))

    @property
    def are_open(self) -> bool:
        """Whether any text can be a label."""
        return self.rule.closed_labels is None and self.closed is None

    @property
    def names(self) -> list[str]:
        """The names of the codes that are known beforehand: the first ones, or all."""
        classes = [] if self.accepted is None else list(self.accepted.classes)
        closed = self.rule.closed_labels if self.rule.closed_labels is not None else self.closed or ()
        class_of = {} if self.accepted is None else self.accepted.class_of
        return [*classes, *(label for label in closed if label not in class_of)]

    @property
    def manifest_entry(self) -> dict[str, Any]:
        """What a run's manifest says of its labels: `open_from` is the code from which on they are open, or null."""
        names = self.names
        return {
            "label_rule": str(self.rule),
            "names": names,
            "open_from": len(names) if self.are_open else None,
        }

    def describe(self) -> dict[str, Any]:
        """What decides labels, for the identity of a run."""
        return {
            "label_rule": self.rule.describe(),
            "accepted": None if self.accepted is None else self.accepted.describe(),
        }


@dataclass(frozen=True)
class ApiFacts(NetworkFacts):
    """`spec`: how queries are made. `labels`: what is made of answers. `price`: dollars a query, None if unknown."""

    spec: QuerySpec = field(kw_only=True)
    labels: AskedLabels = field(kw_only=True)
    price: float | None = field(kw_only=True)


def name_in_rows(classifier: str, label_rule: str, queries: Mapping[str, Any]) -> str:
    """What rows and reports call an API: its name in an identity, and what else is part of the classifier unless it is
    usual. `queries` are the facts of a `QueryIdentity`.
    """
    encoding, upscale = str(queries.get("encoding")).partition(";")[0], str(queries.get("upscale"))
    unusual = [
        f"as {encoding}" if encoding.partition(":")[0] not in (USUAL_ENCODING, NUMBERS) else "",
        f"upscaled {upscale}" if upscale != NOT_UPSCALED else "",
        f"labels {label_rule}" if label_rule != USUAL_RULE else "",
    ]
    return " ".join(filter(None, [classifier, *unusual]))


def price_of(settings: SamplingSettings) -> float | None:
    """Dollars for 1,000 pictures: as the settings say, or by the API's price list. None if no one says."""
    if settings.price_per_1000 is not None:
        return settings.price_per_1000
    return read_api(settings.classifier)[1].price_per_1000


def rate_of(settings: SamplingSettings) -> float | None:
    """Pictures a second: as the settings say, or by the API's usual quota. None if there is no limit."""
    return settings.pictures_per_second or read_api(settings.classifier)[1].rate


def api_facts(
    settings: SamplingSettings, dataset: Dataset, spec: BaseClassifierSpec, image: np.ndarray, noise: NoiseFamily
) -> ApiFacts:
    """The facts of a run at one noise level; `image` is (C, H, W) in pixel units. Raises RaysmoothError for whatever
    cannot work: an image that is too small for the API, a budget without a price, accepted labels that contradict each
    other, a denoiser that does not fit. Sends nothing.
    """
    written, entry, options = read_api(settings.classifier)
    _refuse_picture(settings, entry, image)
    price = price_of(settings)
    if settings.budget is not None and not price:
        unknown = "costs nothing" if price == 0 else "has no price that is known here"
        raise RaysmoothError(
            f"--budget {settings.budget:g}: {written.name} {unknown}: write --price-per-1000 1.50, or --max-queries"
        )
    labels = _labels(settings, entry, options, dataset)
    described = {**entry.describe(options, settings.endpoint)}
    base = replace(
        spec,
        classifier=str(_without_folders(written, entry)),
        classifier_weights=None,
        classifier_fingerprint=settings_hash(described),
        rejector=UNANSWERED,
        rejector_weights=None,
    )
    found = _with_denoiser(settings.out, base, image, noise)
    asked = QuerySpec(
        str(written),
        settings.endpoint,
        noise,
        settings.seed,
        str(read_encoding(settings.encoding)),
        str(read_upscale(settings.upscale)),
        found.base.denoiser,
        found.base.denoiser_weights,
        found.base.denoiser_fingerprint,
        found.base.import_path,
        settings.concurrency or entry.concurrency,
        settings.timeout,
        settings.patience,
    )
    classes = labels.with_open(open_vocabulary(settings.out)).num_labels
    assumed = OWN_ANSWER if labels.accepted is None else None
    return ApiFacts(
        found.base,
        classes,
        tuple(image.shape),
        found.objective,
        found.mismatch,
        assumed,
        None,
        "",
        found.made_from,
        (*_accepted_notes(labels.accepted), *found.notes),
        spec=asked,
        labels=labels,
        price=None if price is None else price / 1000,
    )


def _without_folders(written: Variant, entry: ApiEntry) -> Variant:
    """The API as a run's rows name it: the content of the files that options name is in its fingerprint, and their
    folders say nothing.
    """
    short = tuple(
        (name, PurePath(value).name if name in entry.files and isinstance(value, str) else value)
        for name, value in written.options
    )
    return replace(written, options=short)


def _refuse_picture(settings: SamplingSettings, entry: ApiEntry, image: np.ndarray) -> None:
    """Raises RaysmoothError for images that the API does not take."""
    check_channels(len(image), entry.takes_numbers)
    least, factor, side = entry.least_side, read_upscale(settings.upscale).factor, min(image.shape[1:])
    if least is not None and side * factor < least:
        size = " x ".join(str(pixels * factor) for pixels in image.shape[1:])
        raise RaysmoothError(
            f"--classifier {settings.classifier} takes pictures of at least {least} pixels a side, and these are "
            f"{size}: write --upscale nearest:factor={-(-least // side)}"
        )


def _labels(settings: SamplingSettings, entry: ApiEntry, options: Any, dataset: Dataset) -> AskedLabels:
    accepted = None
    if settings.accepted is not None:
        accepted = read_accepted(settings.accepted, dataset.facts.class_names, dataset.num_classes or 0)
    return AskedLabels(read_label_rule(settings.label_rule), entry.closed_labels(options), accepted)


def _accepted_notes(accepted: Accepted | None) -> tuple[str, ...]:
    """What to say of classes without any accepted label."""
    if accepted is None:
        return ()
    left = [name for place, name in enumerate(accepted.classes) if place not in {*accepted.class_of.values()}]
    if not left:
        return ()
    named = ", ".join(map(printable, left[:4])) + (", ..." if len(left) > 4 else "")
    return (
        f"--accepted has no label for {counted(len(left), 'class')} ({named}): no answer is right for their images",
    )


@dataclass(frozen=True)
class _Denoised:
    base: BaseClassifierSpec
    objective: str | None = "none"
    mismatch: Any = None
    made_from: str | None = None
    notes: tuple[str, ...] = ()


def _with_denoiser(out: str, spec: BaseClassifierSpec, image: np.ndarray, noise: NoiseFamily) -> _Denoised:
    """The denoiser's canonical name and fingerprint, from a manifest in `out` where the same file with the same
    libraries led to one, else by loading it.
    """
    if spec.denoiser == NO_DENOISER and spec.denoiser_weights is None:
        return _Denoised(spec)
    before = made_from(spec, noise)
    if before is not None and (earlier := _earlier(out, before)) is not None:
        identity = earlier["identity"]
        named = {name: identity.get(name) for name in ("denoiser", "denoiser_fingerprint")}
        return _Denoised(replace(spec, **named), earlier.get("objective"), None, before)
    return _loaded(spec, image, noise, before)


def _earlier(out: str, wanted: str) -> Mapping[str, Any] | None:
    for _, manifest in manifests(out, "identity", "made_from", skip_bad=True):
        if manifest["made_from"] == wanted and "query_identity" in manifest.identity:
            return manifest
    return None


def _loaded(spec: BaseClassifierSpec, image: np.ndarray, noise: NoiseFamily, before: str | None) -> _Denoised:
    """Loads torch. Raises RaysmoothError as `load_denoiser`, and for images that the denoiser does not take."""
    import torch

    from raysmooth.actors.models.network_reading import load_denoiser
    from raysmooth.actors.models.own_callable import refused_images

    denoiser = load_denoiser(spec.denoiser, spec.denoiser_weights, spec.import_path)
    try:
        with torch.inference_mode():
            denoiser.network.eval()(torch.from_numpy(image)[None])
    except Exception as error:  # whatever a network raises for images of another shape
        fitting = "the data set, --resize/--crop or the denoiser that fits"
        raise refused_images(f"denoiser '{denoiser.name}'", False, tuple(image.shape), error, fitting) from error
    mismatches = denoiser_mismatches(spec.denoiser_weights, denoiser.card, noise)
    base = replace(spec, denoiser=denoiser.name, denoiser_fingerprint=denoiser.fingerprint)
    same = before is not None and not mismatches and before == made_from(spec, noise)  # not replaced meanwhile
    first, others = next(iter(mismatches), None), tuple(describe(mismatches[1:]))
    return _Denoised(base, denoiser.card.get("objective"), first, before if same else None, others)
