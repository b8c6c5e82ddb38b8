"""What a run needs to know of its networks: by loading them or, where nothing that decides it has changed, from the
manifest of an earlier run. Loading takes torch, which takes seconds; a finished run should not wait for it.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import raysmooth.common
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.models.formats.model_folder import refuse_bad_folder
from raysmooth.actors.models.networks.input_size import NO_RESIZE
from raysmooth.actors.models.own_callable import refused_code
from raysmooth.actors.models.preprocess import EACH, read_preprocess
from raysmooth.actors.models.rejectors import NO_REJECTOR
from raysmooth.actors.models.weight_paths import file_sha256, members_of, path_at, refuse_missing_weights, whole_file
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.sigma_search.search_options import SearchOptions
from raysmooth.common.errors import printable
from raysmooth.common.hashing import settings_hash
from raysmooth.common.model_files import is_model_file
from raysmooth.common.variant import Variant, is_own_code
from raysmooth.pipeline.data.class_names import telling_names
from raysmooth.pipeline.runs.noise_mismatch import Mismatch, describe, find_mismatches, rejector_notes
from raysmooth.pipeline.runs.settings import NoisySettings
from raysmooth.pipeline.store.manifest import ROW_FOLDERS, Manifest, manifests
from raysmooth.pipeline.store.versions import package_version, source_sha256
from raysmooth.storage.store_urls import is_url

if TYPE_CHECKING:
    from raysmooth.actors.models.loading import Loaded

_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "safetensors",
    "onnx",
    "onnxruntime",
    "numpy",
    "pillow",
    "scipy",
)
"""They build networks, read weights, or are in a run's identity."""

_ROOMS = ("common", "storage", "actors", "pipeline")
"""Our own code that does so."""

_MOST_BYTES = 2**30
"""The largest weights file that is hashed before it is loaded: a larger one takes longer than torch does, and may be
refused by its first bytes.
"""

_PROCESSOR = (
    "vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU implementer", "CPU architecture",
    "CPU variant", "CPU part",
)  # fmt: skip
"""Lines of /proc/cpuinfo that name a kind of processor; the others differ from moment to moment, or between cores."""


@dataclass(frozen=True)
class NetworkFacts:
    """What loading the networks of a run finds out. `base` has all defaults and fingerprints filled in; `image_shape`,
    (C, H, W), is that of the images that they were tried with. The others are as in `Run` and `Loaded`.

    `made_from` is the SHA-256, in hex, of all that decides these facts, and of what decides the kind of this machine's
    CPU: equal ones have equal facts. None where that cannot be promised: for the user's own code, for weights without a
    file, of more than 1 GB or trained for something else (a manifest has no more than the warning), and for a processor
    that does not say what it is. `notes` are warnings of a rejector that was trained for other networks or noise, and
    of an ensemble's further members beside the one in `mismatch`, `about` what the files of other tools say of their
    networks, `class_names` those that the classifier's own files give its labels, or none.
    """

    base: BaseClassifierSpec
    num_classes: int
    image_shape: tuple[int, ...]
    objective: str | None
    mismatch: Mismatch | None
    assumed: str | None
    unsteady: str | None
    preprocess_from: str
    made_from: str | None
    notes: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    resizing_from: str = ""
    class_names: tuple[str, ...] = ()


def refuse_networks(settings: NoisySettings) -> None:
    """Raises RaysmoothError for what names and paths of networks give away before torch is loaded: code that a file
    names, a normalisation that is none, and weights that are missing.
    """
    if is_own_code(settings.classifier) and not settings.trust_code:
        raise refused_code(Variant.parse(settings.classifier))
    for preprocess in () if settings.preprocess is None else settings.preprocess.split(EACH):
        read_preprocess(preprocess)
    for sigma in settings.sigma:
        spec = spec_at(settings, sigma)
        architecture = spec.classifier.partition(":")[0]
        for folder in spec.classifiers if architecture == "hf" else ():
            if not is_url(folder):
                refuse_bad_folder(Path(folder))
        named_sets = not is_model_file(architecture)  # torchvision's
        denoised, rejected = spec.denoiser != NO_DENOISER, spec.rejector != NO_REJECTOR
        for path in (
            *(path for path in spec.classifiers if architecture != "hf" and not (named_sets and path.isidentifier())),
            *(members_of(spec.denoiser_weights) if denoised else ()),
            *([spec.rejector_weights] if rejected and spec.rejector_weights is not None else []),
        ):
            if not is_url(path):
                refuse_missing_weights(Path(whole_file(path)))


def spec_at(settings: NoisySettings, sigma: float) -> BaseClassifierSpec:
    """The base classifier that the settings name at a noise level; raises RaysmoothError as `path_at` does."""
    classifier_weights, denoiser_weights, rejector_weights = (
        None if path is None else path_at(path, sigma)
        for path in (settings.classifier_weights, settings.denoiser_weights, settings.rejector_weights)
    )
    return BaseClassifierSpec(
        settings.classifier,
        classifier_weights,
        settings.preprocess,
        settings.denoiser,
        denoiser_weights,
        import_path=(os.getcwd(),),
        trust_code=settings.trust_code,
        rejector=settings.rejector,
        rejector_weights=rejector_weights,
        consensus=settings.consensus,
        input_size=settings.input_size,
        interpolation=settings.interpolation,
    )


def load_facts(
    spec: BaseClassifierSpec, image: np.ndarray, noise: NoiseFamily, search: SearchOptions | None = None
) -> NetworkFacts:
    """Load the networks on the CPU, and try them with an image, (C, H, W) in pixel units. Raises RaysmoothError as
    `load_base_classifier` and `check_image` do, and for a classifier that a `search` cannot use.
    """
    import torch

    from raysmooth.actors.models.loading import load_base_classifier

    before = made_from(spec, noise)
    facts = facts_of(load_base_classifier(spec, torch.device("cpu")), image, noise, search)
    if facts.mismatch is not None or facts.notes or before != made_from(spec, noise):  # replaced while it was read
        return facts
    return replace(facts, made_from=before)


def facts_of(
    loaded: "Loaded",
    image: np.ndarray,
    noise: NoiseFamily,
    search: SearchOptions | None = None,
    device: str = "cpu",
) -> NetworkFacts:
    """The facts of networks in the memory of `device`, without `made_from`; else as `load_facts`."""
    import torch

    from raysmooth.actors.models.formats.onnx_session import OnnxClassifier
    from raysmooth.actors.models.loading import check_image
    from raysmooth.actors.models.steadiness import unsteadiness

    pixels = torch.from_numpy(image).to(device)
    num_classes = check_image(loaded, pixels)
    if search is not None:
        from raysmooth.actors.sigma_search.search_network import SearchNetwork

        SearchNetwork(loaded.model, search).labels(pixels[None])
    # Our own networks draw nothing in eval mode. Calls of others may be billed, but five images or eight are little
    # beside the draws of one image, and a BatchNorm in training mode is not seen otherwise.
    theirs = is_own_code(loaded.spec.classifier) or isinstance(loaded.model.classifier, OnnxClassifier)
    unsteady = unsteadiness(loaded.model, pixels) if theirs else None
    denoised = loaded.spec.denoiser != "none"
    objective = loaded.denoiser_card.get("objective") if denoised else _objective(loaded.classifier_card)
    mismatches = find_mismatches(loaded, noise)
    return NetworkFacts(
        loaded.spec,
        num_classes,
        tuple(image.shape),
        objective,
        next(iter(mismatches), None),
        loaded.assumed,
        unsteady,
        loaded.preprocess_from,
        None,
        (*describe(mismatches[1:]), *rejector_notes(loaded, noise)),
        loaded.about,
        loaded.resizing_from,
        telling_names(loaded.class_names),
    )


def _objective(card: Mapping[str, Any]) -> Any:
    """What a classifier was trained for, and whether each image had a sigma of its own; "none" if nothing says so."""
    objective = card.get("objective", "none")
    return f"data-dependent {objective}" if card.get("data_dependent") is not None else objective


def recorded_facts(
    settings: NoisySettings, spec: BaseClassifierSpec, noise: NoiseFamily
) -> tuple[NetworkFacts, ReplicaIdentity] | None:
    """The facts that an earlier run in the settings' <out> has recorded of the same networks, and the identity that a
    replica on this machine's CPU has; None if there is no such run. Loads nothing.
    """
    earlier = [
        one
        for _, one in manifests(settings.out, "identity", "made_from", skip_bad=True)
        if one["made_from"] is not None and one.procedure in ROW_FOLDERS and "import" not in one.identity
    ]
    if not earlier or (wanted := made_from(spec, noise)) is None:
        return None
    for manifest in earlier:
        if manifest["made_from"] != wanted or manifest.identity.get("numpy") != np.__version__:
            continue
        if (facts := _facts_of(manifest, spec)) is not None:
            device, version = str(manifest.identity["device"]), str(manifest.identity.get("torch"))
            return facts, ReplicaIdentity(device, version, np.__version__, os.uname().nodename, os.getpid())
    return None


def _facts_of(manifest: Manifest, spec: BaseClassifierSpec) -> NetworkFacts | None:
    """The facts that a manifest has of the networks of `spec`; None where it lacks one."""
    identity, data = manifest.identity, manifest.get("data")
    shape, classes, objective = (manifest.get(name) for name in ("image_shape", "num_classes", "objective"))
    assumed, origin = manifest.get("assumed") or [], data.get("preprocess_from") if isinstance(data, dict) else None
    # A folder of results may be another person's, and these reach the screen.
    about = data.get("networks") if isinstance(data, dict) else None
    about = about if isinstance(about, list) else []
    texts = [*assumed, origin, objective or "", *about]
    if shape is None or classes is None or not all(isinstance(one, str) and one == printable(one) for one in texts):
        return None
    base = replace(
        spec,
        classifier=identity["classifier"],
        denoiser=identity["denoiser"],
        preprocess=identity["preprocess"],
        classifier_fingerprint=identity.get("classifier_fingerprint"),
        denoiser_fingerprint=identity.get("denoiser_fingerprint"),
        rejector=identity.get("rejector") or NO_REJECTOR,
        rejector_fingerprint=identity.get("rejector_fingerprint"),
        resizing=identity.get("input_size") or NO_RESIZE,
    )
    taken_for_granted = assumed[0] if assumed else None
    return NetworkFacts(
        base, classes, tuple(shape), objective, None, taken_for_granted, None, str(origin), manifest["made_from"],
        about=tuple(about),
    )  # fmt: skip


def made_from(spec: BaseClassifierSpec, noise: NoiseFamily) -> str | None:
    """As of `NetworkFacts`. It takes a fraction of a second, and not torch."""
    processor = processor_kind()
    if processor is None or is_own_code(spec.classifier):
        return None
    named = {name: value for name, value in asdict(spec).items() if name not in ("import_path", "trust_code")}
    files = {
        name: file_sha256(path, _MOST_BYTES)
        for name, path in named.items()
        if name.endswith("_weights") and path is not None
    }
    if None in files.values():
        return None
    return settings_hash(
        {
            "named": named,
            "files": files,
            "noise": [noise.name, noise.scale],
            "libraries": {name: package_version(name) for name in _LIBRARIES},
            "python": sys.version,
            "source": source_sha256(Path(raysmooth.common.__file__).parent.parent, _ROOMS),
            "processor": processor,
        }
    )


def processor_kind() -> Sequence[str] | None:
    """What decides which vector instructions torch uses: the processor, and the variable that overrules torch's choice.
    None where the system does not say.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    lines = sorted({line for line in lines if line.partition(":")[0].strip() in _PROCESSOR})
    return [*lines, platform.machine(), os.environ.get("ATEN_CPU_CAPABILITY", "")] if lines else None


def surely_on_cpu(settings: NoisySettings) -> bool:
    """Whether replicas on this machine would compute on its CPU, so far as that is certain without torch: it was built
    for nothing else, or there is no driver of a GPU.
    """
    if settings.gpus_per_replica is not None:
        return settings.gpus_per_replica == 0
    if (package_version("torch") or "").endswith("+cpu"):
        return True
    if any(Path("/dev").glob("nvidia*")) or Path("/dev/kfd").exists() or Path("/dev/dxg").exists():
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return sys.platform == "linux"
    return False
