"""A model card of the Hugging Face Hub: README.md, whose metadata hold the results as `model-index`.

The value of a metric is certified accuracy in percent, rounded down; its `args` have everything that the number depends
on, and the ends of its interval.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from raysmooth.pipeline.analysis.run_facts import UNLABELLED
from raysmooth.pipeline.export.card import At, Card, Network, cards_of
from raysmooth.pipeline.export.exported_run import ExportedRun, percent_down, percent_up, shown_radius
from raysmooth.pipeline.report.rounding import percent

TAGS = ("certified-robustness", "randomized-smoothing", "raysmooth")
TASK = "image-classification"

_OF_THE_METRIC = ("noise", "norm", "sigma", "sigma_rule", "sampling", "n0", "n", "alpha", "noise_bound", "alpha_share")


def model_card(runs: Sequence[ExportedRun], name: str | None = None) -> str:
    """README.md of a model with these runs. `name` is what it is called, by default its classifier's name."""
    cards = cards_of(runs).runs
    name = name or cards[0].classifier.name
    metadata = {
        "pipeline_tag": TASK,
        "tags": list(TAGS),
        "model-index": [{"name": name, "results": [_result(card) for card in cards]}],
    }
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000)
    return "\n".join(["---", front + "---", "", *_text(name, cards)]) + "\n"


def _result(card: Card) -> dict[str, Any]:
    name = card.dataset or "unknown"
    args = _known({"images": card.images, "index_set": card.index_set})
    dataset = {"type": name, "name": name, "split": card.split, "args": args}
    metrics = [_metric(card, card.quantity, at) for at in card.certified]
    if card.top_k is not None:
        metrics += [_metric(card, f"certified top-{card.top_k.k} accuracy", at) for at in card.top_k.certified]
    return {"task": {"type": TASK}, "dataset": _known(dataset), "metrics": metrics}


def _metric(card: Card, quantity: str, at: At) -> dict[str, Any]:
    settings = {name: getattr(card, name) for name in _OF_THE_METRIC}
    ends = {"low": at.low and percent_down(at.low), "high": at.high and percent_up(at.high)}
    return {
        "type": quantity.partition(" (")[0].replace(" ", "_").replace("-", "_"),
        "name": f"{quantity}, {_at_radius(card, at)}",
        "value": float(percent(at.certified / at.images, at.images)),
        "args": _known({"radius": at.radius, **settings, **ends, "run": card.run_id}),
    }


def _at_radius(card: Card, at: At) -> str:
    sigma = "" if card.sigma is None else f", sigma {card.sigma:.6}"
    return f"{card.norm or 'unknown norm'} radius {shown_radius(at.radius)}{sigma}"


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _text(name: str, cards: Sequence[Card]) -> Iterator[str]:
    yield f"# {_cell(name)}"
    yield ""
    yield (
        "Robustness of the smoothed classifier, certified with [raysmooth](https://pypi.org/project/raysmooth). Radii "
        "are distances of pixels in [0, 1]."
    )
    for card in cards:
        yield from ("", f"## {_heading(card)}", "")
        yield from _table(card)
        yield from ("", f"{card.promise[:1].upper()}{card.promise[1:]}.", "")
        yield from (f"- {_cell(line)}" for line in _facts(card))


def _heading(card: Card) -> str:
    parts = [card.dataset, card.split, card.norm, None if card.sigma is None else f"sigma {card.sigma:.6}"]
    rule = None if card.sigma_rule is None else f"sigma of each image: {card.sigma_rule}"
    return _cell(", ".join(part for part in (*parts, rule) if part))


def _table(card: Card) -> Iterator[str]:
    top_k = [] if card.top_k is None else card.top_k.certified
    more = [] if card.top_k is None else [f"top-{card.top_k.k}", "95 % interval"]
    columns = [f"{card.norm or ''} radius".strip(), f"{card.quantity} (%)", "95 % interval", *more]
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---:|' * len(columns)}"
    for place, at in enumerate(card.certified):
        cells = [shown_radius(at.radius), *_shares(at), *(_shares(top_k[place]) if top_k else [])]
        yield f"| {' | '.join(cells)} |"


def _shares(at: At) -> list[str]:
    share = percent(at.certified / at.images, at.images)
    return [
        share,
        "unknown" if at.low is None or at.high is None else f"{percent_down(at.low)} to {percent_up(at.high)}",
    ]


def _facts(card: Card) -> Iterator[str]:
    failed = f", {card.failed_images} failed, which count as not certified" if card.failed_images else ""
    left = f" (unfinished: of {card.planned_images})" if card.images < card.planned_images else ""
    yield f"Images: {card.images}{left} of {card.dataset}, {card.split or 'split unknown'}, {card.index_set}{failed}"
    if card.quantity == UNLABELLED:
        yield "No labels: an image counts as certified for any class"
    for part in ("classifier", "denoiser", "rejector"):
        network: Network | None = getattr(card, part)
        if network is not None:
            known = {"fingerprint": network.fingerprint, "SHA-256 of its weights": network.weights_sha256}
            named = "".join(f", {what} `{value}`" for what, value in known.items() if value is not None)
            yield f"{part.capitalize()}: {network.name}{named}"
    drawn = [f"{name}={value}" for name in ("n0", "n", "alpha") if (value := getattr(card, name)) is not None]
    yield f"Draws: {', '.join([*drawn, f'sampling {card.sampling}', f'{card.noise} noise', f'seed {card.seed}'])}"
    if card.average_certified_radius is not None:
        yield f"Average certified radius: {card.average_certified_radius}"
    if card.source is not None:
        yield f"Rows {card.source}"
    yield from (f"Assumed: {line}" for line in card.assumed)
    yield from (f"Warning: {line}" for line in card.warnings)
    versions = ", ".join(f"{name} {one}" for name, one in card.versions.items() if one)
    yield f"Run `{card.run_id}`{versions and f', with {versions}'}"


def _cell(text: str) -> str:
    """One line that no Markdown table or heading takes apart."""
    return " ".join(text.replace("|", "\\|").split())
