"""The vision APIs that can be a base classifier: the registry behind `--classifier google:...`."""

import os
from dataclasses import replace

from raysmooth.actors.apis import aws, azure, chat_endpoint, clarifai, google, http_endpoint, inference_protocol
from raysmooth.actors.apis.vision_api import ApiEntry
from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.registry import Registry
from raysmooth.common.settings import read_options
from raysmooth.common.variant import Variant

VISION_APIS: Registry[ApiEntry] = Registry(
    "vision API",
    {
        "google": ApiEntry(
            "Google Cloud Vision: label detection; an open vocabulary",
            google.GoogleOptions, google.GoogleVision, google.check, google.describe,
            price_per_1000=1.5, rate=30.0, concurrency=16, most_bytes=7_000_000,
        ),
        "aws": ApiEntry(
            "Amazon Rekognition: DetectLabels; an open vocabulary whose labels name their parents",
            aws.AwsOptions, aws.Rekognition, aws.check, aws.describe,
            price_per_1000=1.0, rate=5.0, concurrency=32, least_side=80, most_bytes=5 * 2**20, by_options=aws.facts,
        ),
        "azure": ApiEntry(
            "Azure AI Vision, Image Analysis 4.0: tags; an open vocabulary",
            azure.AzureOptions, azure.AzureVision, azure.check, azure.describe,
            price_per_1000=1.0, rate=10.0, least_side=51, most_bytes=20_000_000,
        ),
        "clarifai": ApiEntry(
            "Clarifai: a model of image recognition; its own has an open vocabulary",
            clarifai.ClarifaiOptions, clarifai.Clarifai, clarifai.check, clarifai.describe,
            rate=15.0, most_bytes=20_000_000,
        ),
        "openai": ApiEntry(
            "a language model that sees, behind an OpenAI-compatible chat endpoint; a file of labels",
            chat_endpoint.ChatOptions, chat_endpoint.ChatClassifier, chat_endpoint.check, chat_endpoint.describe,
            chat_endpoint.closed_labels, files=("labels", "prompt"),
        ),
        "oip": ApiEntry(
            "a model behind the Open Inference Protocol, version 2 (Triton, KServe, MLServer): numbers in, numbers out",
            inference_protocol.InferenceOptions, inference_protocol.InferenceClient, inference_protocol.check,
            inference_protocol.describe, inference_protocol.closed_labels, takes_numbers=True, files=("labels",),
            by_options=inference_protocol.by_options,
        ),
        "http": ApiEntry(
            "any black box behind HTTP: a file says what is sent, and where the labels are in the answer",
            http_endpoint.HttpOptions, http_endpoint.HttpClassifier, http_endpoint.check, http_endpoint.describe,
            http_endpoint.closed_labels, files=("request",),
        ),
    },
)  # fmt: skip


def is_api(classifier: str) -> bool:
    """Whether a `--classifier` names a vision API; False for text that names nothing."""
    return classifier.partition(":")[0].strip() in VISION_APIS


def read_api(classifier: str, folders: tuple[str, ...] = ()) -> tuple[Variant, ApiEntry, object]:
    """The API that `classifier` names, in canonical form, its entry with the facts that follow from its options, and
    these. Files that options name are looked for here, then below `folders`: working directories differ between nodes.

    Raises RaysmoothError for an unknown API and for options that it does not have or refuses.
    """
    written = Variant.parse_entry(classifier, "vision API", "google:max_results=10")
    entry = VISION_APIS[written.name]
    located = tuple(
        (name, _located(value, folders) if name in entry.files and isinstance(value, str) else value)
        for name, value in written.options
    )
    options = read_options(entry.options, replace(written, options=located), "vision API")
    return written, replace(entry, **entry.by_options(options)), options


def _located(path: str, folders: tuple[str, ...]) -> str:
    if os.path.exists(path):
        return path
    return next((found for folder in folders if os.path.exists(found := os.path.join(folder, path))), path)


def refuse_api(classifier: str | None, needs: str, flag: str = "--classifier") -> None:
    """Raises RaysmoothError where `classifier`, written after `flag`, is a vision API, and a network is needed for what
    `needs` says, such as "training needs gradients".
    """
    if classifier is not None and is_api(classifier):
        raise RaysmoothError(
            f"{flag} {printable(classifier)}: {needs}, and a vision API has neither weights nor gradients here: name a "
            "network; certify and predict take APIs"
        )
