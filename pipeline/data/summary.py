"""What a run says of its data, once: a line for the person, and the whole for its manifest."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from raysmooth.common.errors import counted, printable
from raysmooth.common.limits import LARGEST_LABEL
from raysmooth.pipeline.data.dataset import Dataset

SHOWN_NAMES, SHOWN_CHARACTERS = 6, 60
"""The line lists at most this many class names, with at most this many characters in all."""


def summarised(dataset: Dataset, used: str, size: Sequence[int]) -> dict[str, Any]:
    """The facts of a data set in JSON values. `used` describes the images that are used, `size` is (height, width) of
    the first of them.
    """
    facts = dataset.facts
    labels = dataset.labels() if facts.labels_from is not None else []
    return {
        "dataset": dataset.name,
        "split": dataset.split,
        "images": len(dataset),
        "used": used,
        "classes": dataset.num_classes,
        "class_names": {str(label): name for label, name in sorted(facts.class_names.items())},
        "class_order": facts.class_order,
        "labels_from": facts.labels_from,
        "unlabelled": labels.count(None) if facts.labels_from is not None else len(dataset),
        "channels": dataset.channels,
        "size": list(size),
        "bits": facts.bits,
        "exif": facts.exif,
        "skipped": dict(facts.skipped),
        "notes": list(facts.notes),
    }


def class_names_of(summary: Any) -> dict[int, str]:
    """Names by label of those entries of a summary that are any; a manifest's may be of other versions, or edited."""
    names = summary.get("class_names") if isinstance(summary, Mapping) else None
    entries = names.items() if isinstance(names, Mapping) else ()
    return {
        int(label): printable(str(name))
        for label, name in entries
        if str(label).isdecimal() and len(str(label)) <= len(str(LARGEST_LABEL))
    }


def described(summary: Mapping[str, Any]) -> str:
    """One line of a summary."""
    height, width = summary["size"]
    used = "" if summary["used"].startswith("all ") else f" ({summary['used']})"
    parts = [
        f"{summary['dataset']}, split {summary['split']}: {counted(summary['images'], 'image')}{used}, "
        f"{_classes(summary)}, {summary['channels']} x {height} x {width}, {summary['bits']}"
    ]
    if summary["exif"]:
        parts.append(summary["exif"])
    if summary["skipped"]:
        parts.append("skipped: " + ", ".join(f"{count} {what}" for what, count in summary["skipped"].items()))
    if summary.get("preprocess"):
        origin = f" ({summary['preprocess_from']})" if summary.get("preprocess_from") else ""
        parts.append(f"normalisation {summary['preprocess']}{origin}")
    if summary.get("input_size"):
        origin = f" ({summary['input_size_from']})" if summary.get("input_size_from") else ""
        parts.append(f"resized for the classifier, {summary['input_size']}{origin}")
    if summary.get("class_names_from"):
        parts.append(f"names of classes from {summary['class_names_from']}")
    parts += summary.get("networks") or []
    return f"data: {'; '.join(parts)}"


def class_count_note(dataset: Dataset, num_classes: int) -> str | None:
    """What to say where the data has more classes than the classifier's `num_classes`, or too few to be its classes."""
    count, facts = dataset.num_classes, dataset.facts
    if count is None or count == num_classes:
        return None
    if count > num_classes:
        return (
            f"the data has {counted(count, 'class')}, the classifier {num_classes}: images with labels from "
            f"{num_classes} on are errors; write --label-map FILE, or the classifier of these classes"
        )
    decided = facts.class_order in ("--classes", "--label-map")
    if decided or not (facts.names_sorted or 2 * count <= num_classes):
        return None
    labels = "label 0 does" if count == 1 else f"labels 0 to {count - 1} do"
    return (
        f"the data has {counted(count, 'class')}, the classifier {num_classes}: if {labels} not mean the same "
        "to both, write --classes FILE or --label-map FILE"
    )


def subset_note(dataset: Dataset, image_ids: Collection[int]) -> str | None:
    """What to say where the data are in the order of their classes, as those of class folders, and the chosen images
    have far fewer classes than they could.
    """
    if dataset.facts.labels_from is None or len(image_ids) == len(dataset):
        return None
    labels = dataset.labels()
    known = [label for label in labels if label is not None]
    there, chosen = set(known), {labels[image_id] for image_id in image_ids} - {None}
    if known != sorted(known) or not chosen or 2 * len(chosen) > min(len(there), len(image_ids)):
        return None
    return (
        f"the {counted(len(image_ids), 'image')} taken are of {len(chosen)} of the data's "
        f"{counted(len(there), 'class')}, as the data are in their order: write --skip "
        f"{len(dataset) // len(image_ids)} to take images of all"
    )


def _classes(summary: Mapping[str, Any]) -> str:
    if summary["labels_from"] is None:
        return "no labels"
    names = list(summary["class_names"].values())
    listed = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    listed = listed if len(listed) <= SHOWN_CHARACTERS else f"{listed[: SHOWN_CHARACTERS - 3]}..."
    origin = summary["labels_from"] + (f", {summary['class_order']}" if summary["class_order"] else "")
    missing = f", {counted(summary['unlabelled'], 'image')} without a label" if summary["unlabelled"] else ""
    return f"{counted(summary['classes'] or 0, 'class')}{f' ({listed})' if listed else ''} from {origin}{missing}"
