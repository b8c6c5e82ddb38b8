"""ONNX files as classifiers and denoisers of a run."""

from raysmooth.actors.models.formats.onnx_options import read_options
from raysmooth.actors.models.formats.onnx_session import read_classifier, read_denoiser
from raysmooth.actors.models.formats.readers import FileNetwork
from raysmooth.common.variant import Variant


def onnx_classifier(architecture: Variant, path: str) -> FileNetwork:
    """The classifier in the ONNX file at `path`, which does not say how pixels are normalised for it. Raises
    RaysmoothError as `read_options` and `onnx_session.read_classifier` do.
    """
    network = read_classifier(path, read_options(architecture, "classifier"))
    return FileNetwork(network, network.digest, about=(network.interface.about,))


def onnx_denoiser(architecture: Variant, path: str) -> FileNetwork:
    """The denoiser in the ONNX file at `path`. Raises RaysmoothError as `onnx_classifier` does."""
    denoiser = read_denoiser(path, read_options(architecture, "denoiser"))
    return FileNetwork(denoiser, about=(denoiser.network.interface.about,))
