"""The Python API of models that are objects of the caller's program: certified there, without Ray or files."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysmooth.common.spelling import in_keywords

if TYPE_CHECKING:
    import pandas as pd


@in_keywords
def certify_model(
    model: Any,
    images: Any,
    labels: Any = None,
    *,
    sigma: float | Sequence[float] | None = None,
    noise: str = "gaussian",
    norm: str | None = None,
    n0: int = 100,
    n: int = 10_000,
    alpha: float = 0.001,
    noise_bound: str | None = None,
    alpha_share: float | None = None,
    sampling: str = "fixed",
    tolerance: str | float | None = None,
    pilot: int | None = None,
    radius: float | None = None,
    top_k: int | None = None,
    denoiser: Any = None,
    denoiser_weights: Any = None,
    rejector: str = "none",
    rejector_weights: Any = None,
    preprocess: Any = None,
    input_size: int | None = None,
    interpolation: str | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    seed: int = 0,
    block_size: int = 1000,
    batch_size: int | None = None,
    precision: str = "float32",
    device: Any = None,
    threads: int | None = None,
    max_errors: int = 50,
    progress: bool = True,
) -> "pd.DataFrame":
    """Certify `images` of the caller's program with CERTIFY (Cohen et al. 2019), for a `model` that is an object in it,
    such as a network defined in a notebook's cell. It runs in this process, without Ray, and writes nothing.

    `model`: a torch module, or a function, from pixels (B, C, H, W), float32, to logits (B, K), which may be in an
    attribute or under a key `logits`, or the one tensor of a tuple; or to labels (B,), with `num_classes`. Noise is in
    pixel units, so `preprocess`, its normalisation, comes after it: "imagenet", "0.5/0.25", or a module; so does
    resizing to `input_size` pixels by an `interpolation`. A module is copied, and the copy put into eval mode and on
    the `device`: the module stays as it is. A function is called as it is. `denoiser`: a module or function from pixels
    to pixels, or a name with `denoiser_weights`, as in `certify`.

    `images`: a NumPy array or torch tensor (N, C, H, W), or (N, H, W) for grey images; uint8 is divided by 255, floats
    are from 0 to 1. Channels last are refused. `labels`: N whole numbers, None for an image without one.

    `device`: "cpu", "cuda", "cuda:1"; default: that of the module's parameters, else the CPU. `threads`: default:
    torch's own number. `batch_size` is by default 250 on a CPU and 1000 on a GPU, fewer for images of more than 64 x 64
    pixels: nothing is timed, so the same call gives the same rows. The other arguments are those of `certify`. With
    equal seed, batch_size, block_size, precision, threads (there: `cpus_per_replica`) and `compile="off"`, `certify`
    has the same counts for these images.

    Returns the rows of `certify`: one per image and sigma, radii in pixel units; image i has image_id i; an image that
    failed is a row with `status` "error". Every call's rows have run ids of their own. Raises RaysmoothError, in one
    line, for arguments that cannot work, before any image is drawn, and if more than `max_errors` images fail.

    >>> rows = raysmooth.certify_model(net, images, labels, sigma=0.25, n=1000)
    """
    only = {
        "norm": norm, "n0": n0, "noise_bound": noise_bound, "alpha_share": alpha_share, "sampling": sampling,
        "tolerance": tolerance, "pilot": pilot, "radius": radius, "top_k": top_k,
    }  # fmt: skip
    shared = {
        "sigma": sigma, "noise": noise, "n": n, "alpha": alpha, "denoiser": denoiser, "preprocess": preprocess,
        "denoiser_weights": denoiser_weights, "rejector": rejector, "rejector_weights": rejector_weights, "seed": seed,
        "block_size": block_size, "batch_size": batch_size, "precision": precision, "max_errors": max_errors,
        "input_size": input_size, "interpolation": interpolation,
    }  # fmt: skip
    return _rows(
        "certify", model, (images, labels, class_names), {**shared, **only}, num_classes, device, threads, progress
    )


@in_keywords
def predict_model(
    model: Any,
    images: Any,
    labels: Any = None,
    *,
    sigma: float | Sequence[float] | None = None,
    noise: str = "gaussian",
    n: int = 1000,
    alpha: float = 0.001,
    denoiser: Any = None,
    denoiser_weights: Any = None,
    rejector: str = "none",
    rejector_weights: Any = None,
    preprocess: Any = None,
    input_size: int | None = None,
    interpolation: str | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    seed: int = 0,
    block_size: int = 1000,
    batch_size: int | None = None,
    precision: str = "float32",
    device: Any = None,
    threads: int | None = None,
    max_errors: int = 50,
    progress: bool = True,
) -> "pd.DataFrame":
    """Predict `images` with the smoothed `model`, by PREDICT (Cohen et al. 2019): a class, or -1 where the most
    frequent one cannot be distinguished from the second with probability 1 - alpha.

    Arguments and rows are otherwise those of `certify_model`; the statement's columns are those of `predict`.

    >>> rows = raysmooth.predict_model(net, images, sigma=0.25)
    """
    shared = {
        "sigma": sigma, "noise": noise, "n": n, "alpha": alpha, "denoiser": denoiser, "preprocess": preprocess,
        "denoiser_weights": denoiser_weights, "rejector": rejector, "rejector_weights": rejector_weights, "seed": seed,
        "block_size": block_size, "batch_size": batch_size, "precision": precision, "max_errors": max_errors,
        "input_size": input_size, "interpolation": interpolation,
    }  # fmt: skip
    return _rows("predict", model, (images, labels, class_names), shared, num_classes, device, threads, progress)


def _rows(
    name: str,
    model: Any,
    data: tuple[Any, Any, Any],
    written: Mapping[str, Any],
    num_classes: int | None,
    device: Any,
    threads: int | None,
    progress: bool,
) -> "pd.DataFrame":
    import torch

    from raysmooth.actors.compute.own_process import device_for
    from raysmooth.actors.models.given_model import GivenModel, name_of
    from raysmooth.arguments import ModelArguments
    from raysmooth.common.errors import RaysmoothError, printable
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.analysis.failures import failures
    from raysmooth.pipeline.data.given_images import GivenImages
    from raysmooth.pipeline.in_process.rows_of_model import rows_of_model
    from raysmooth.pipeline.runs.procedures import PROCEDURES
    from raysmooth.rows import in_reading_order, warn_of_failures

    own = checked(ModelArguments, {"num_classes": num_classes, "threads": threads})
    values = {key: value for key, value in written.items() if value is not None}
    given: dict[str, Any] = {"num_classes": own.num_classes}
    if "denoiser" in values and not isinstance(values["denoiser"], str):
        given["denoiser"] = values["denoiser"]
        values["denoiser"] = name_of(values["denoiser"])
    if isinstance(values.get("preprocess"), torch.nn.Module):
        given["preprocess"] = values.pop("preprocess")
    values |= {"dataset": GivenImages.name, "classifier": name_of(model), "compile": "off"}
    values |= {"cpus_per_replica": own.threads or torch.get_num_threads()}
    settings = checked(PROCEDURES[name].settings, values)
    try:
        where = device_for(device, model)
    except ValueError as error:
        raise RaysmoothError(f"--device {printable(str(device))}: {error}") from None
    rows = rows_of_model(PROCEDURES[name], settings, GivenModel(model, **given), GivenImages(*data), where, progress)
    warn_of_failures(failures(rows))
    return in_reading_order(rows)
