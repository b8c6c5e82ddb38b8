"""ONNX networks as classifier and denoiser: onnxruntime computes, in the precision of the file, on the CPU or a CUDA
device.
"""

import copy
import hashlib
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch

from raysmooth.actors.models.formats.onnx_file import OnnxFile, read_onnx
from raysmooth.actors.models.formats.onnx_interface import OnnxInterface, find_interface, one_logit
from raysmooth.actors.models.formats.onnx_options import OnnxOptions
from raysmooth.actors.models.weight_paths import whole_file
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.storage.records import shown_path

_SESSIONS: WeakValueDictionary[tuple[str, str, int], Any] = WeakValueDictionary()
"""Sessions of this process by digest, device and number of threads: runs at several noise levels share one."""


class OnnxNetwork:
    """Float batch (B, C, H, W), in the channel order R, G, B -> the output of the network, on the batch's device.

    Copies share the file's bytes. The session is made at the first call, on the device of the batch and with torch's
    number of threads then; pickled, the network leaves it behind. A network of a fixed batch is called with parts of
    that size, the last filled up with zeros.
    """

    def __init__(self, file: OnnxFile, interface: OnnxInterface, order: str = "rgb") -> None:
        self.digest = hashlib.sha256(f"{file.digest}\0{interface.output}".encode()).hexdigest()
        self.interface = interface
        self.where = file.where
        self._content = file.model.SerializeToString()
        self._order = order
        self._session: tuple[torch.device, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_session": None}

    def __deepcopy__(self, _: dict[int, Any]) -> "OnnxNetwork":
        return copy.copy(self)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self._check(tuple(batch.shape[1:]))
        session, most = self._on(batch.device), self.interface.batch
        size = most or len(batch)
        parts = [self._part(session, batch[start : start + size], size) for start in range(0, len(batch), size)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def open(self, device: torch.device) -> None:
        """Make the session now. Raises RaysmoothError for a network that onnxruntime does not take, and a CUDA device
        that it cannot use.
        """
        self._on(device)

    def _check(self, shape: tuple[int, ...]) -> None:
        """Raises RaysmoothError for images (C, H, W) of another shape than the network takes."""
        for size, wanted in zip(shape, self.interface.shape, strict=True):
            if wanted not in (size, None):
                takes = "x".join("any" if one is None else str(one) for one in self.interface.shape)
                have = "x".join(map(str, shape))
                raise RaysmoothError(
                    f"{shown_path(self.where)} takes images of {takes} (channels, height, width), these are {have}: "
                    "write --channels, --resize and --crop, or export the network with free sizes"
                )
        if self._order == "bgr" and shape[0] != 3:
            raise RaysmoothError(f"order=bgr is for three channels, the images have {shape[0]}: leave it out")

    def _part(self, session: Any, part: torch.Tensor, size: int) -> torch.Tensor:
        count = len(part)
        if self._order == "bgr":
            part = part.flip(1)
        if count < size:
            part = torch.cat([part, part.new_zeros(size - count, *part.shape[1:])])
        # Our batches are (B, H, W, C) in memory already, whatever their shape says.
        part = part.permute(0, 2, 3, 1) if self.interface.channels_last else part
        part = part.to(getattr(torch, self.interface.dtype)).contiguous()
        binding = session.io_binding()
        device = part.device
        binding.bind_input(
            self.interface.input, device.type, device.index or 0, np.dtype(self.interface.dtype), list(part.shape),
            part.data_ptr(),
        )  # fmt: skip
        binding.bind_output(self.interface.output, "cpu")
        if device.type == "cuda":  # onnxruntime has a stream of its own
            torch.cuda.current_stream(device).synchronize()
        try:
            session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's errors have no common class
            if device.type == "cuda" and "allocate" in str(error):
                raise torch.OutOfMemoryError(one_line(error)) from error
            raise RaysmoothError(
                f"{shown_path(self.where)} does not compute images of shape {tuple(part.shape)} ({one_line(error)}): "
                "export the network with a free batch size, and for the data's image size"
            ) from None
        (answer,) = binding.copy_outputs_to_cpu()
        return self._read(answer, count, size).to(device)

    def _read(self, answer: Any, count: int, size: int) -> torch.Tensor:
        where, name = shown_path(self.where), self.interface.output
        if not isinstance(answer, np.ndarray) or answer.ndim == 0 or len(answer) != size:
            shape = getattr(answer, "shape", "none")
            raise RaysmoothError(
                f"{where}: its output '{name}' has shape {shape} for {size} images: export it with one row for each"
            )
        tensor = torch.from_numpy(answer)[:count]
        if self.interface.answers == "labels":
            return tensor[:, 0] if tensor.ndim == 2 and tensor.shape[1] == 1 else tensor
        if self.interface.answers != "pixels" and (tensor.ndim == 1 or tensor.shape[1] == 1):
            raise one_logit(where, name)
        return tensor

    def _on(self, device: torch.device) -> Any:
        if self._session is None or self._session[0] != device:
            key = self.digest, str(device), torch.get_num_threads()
            if (session := _SESSIONS.get(key)) is None:
                session = _SESSIONS[key] = _open(self._content, device, shown_path(self.where))
            self._session = device, session
        return self._session[1]


class OnnxClassifier(OnnxNetwork):
    """Normalised pixels (B, C, H, W) -> logits or probabilities (B, K), or labels (B,) of `num_classes`."""

    def __init__(self, file: OnnxFile, options: OnnxOptions, output: str | None = None) -> None:
        super().__init__(file, find_interface(file, options, output), options.order)
        self.num_classes = options.classes
        if self.interface.answers == "labels" and options.classes < 2:
            raise RaysmoothError(
                f"{shown_path(file.where)} answers labels, and does not say of how many classes: write --classifier "
                f"onnx:classes=K --classifier-weights {shown_path(file.where)}"
            )

    def refuse_as_logits(self, purpose: str) -> None:
        """Raises RaysmoothError where the answers are no logits, which `purpose` needs."""
        if self.interface.answers != "logits":
            raise RaysmoothError(
                f"{purpose} needs the classifier's logits, and {shown_path(self.where)} answers "
                f"{self.interface.answers}: export it without its last step, or write FILE#OUTPUT for one of logits"
            )


class OnnxDenoiser(torch.nn.Module):
    """Noisy pixels (B, C, H, W) -> pixels of the same shape. It has no parameters, and computes in the precision of its
    file whatever it is cast to.
    """

    in_float32 = True
    """Pixels reach it in float32, and no compiler does."""

    def __init__(self, file: OnnxFile, options: OnnxOptions, output: str | None = None) -> None:
        super().__init__()
        self.network = OnnxNetwork(file, find_interface(file, options, output, denoiser=True), options.order)

    @property
    def file_digest(self) -> str:
        """The fingerprint of its file."""
        return self.network.digest

    @torch.compiler.disable
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        pixels = self.network(batch).to(batch.dtype)
        if self.network.interface.channels_last and pixels.ndim == 4:
            pixels = pixels.permute(0, 3, 1, 2)
        if pixels.shape != batch.shape:
            raise RaysmoothError(
                f"{shown_path(self.network.where)} answers shape {tuple(pixels.shape)} to images of "
                f"{tuple(batch.shape)}: a denoiser answers pixels of the shape of its input"
            )
        if self.network._order == "bgr":
            pixels = pixels.flip(1)
        return pixels.contiguous(memory_format=torch.channels_last)


def output_of(path: str) -> str | None:
    """The output that a path names: OUTPUT of FILE#OUTPUT."""
    file = whole_file(path)
    return path[len(file) + 1 :] if file != path else None


def read_classifier(path: str, options: OnnxOptions) -> OnnxClassifier:
    """The classifier in an ONNX file. Raises RaysmoothError as `read_onnx` and `find_interface` do."""
    return OnnxClassifier(read_onnx(whole_file(path)), options, output_of(path))


def read_denoiser(path: str, options: OnnxOptions) -> OnnxDenoiser:
    """The denoiser in an ONNX file. Raises RaysmoothError as `read_onnx` and `find_interface` do."""
    return OnnxDenoiser(read_onnx(whole_file(path)), options, output_of(path))


def _open(content: bytes, device: torch.device, where: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # errors are raised
    # Threads that wait for work would take the cores that torch makes noise on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise RaysmoothError(
                f"onnxruntime {onnxruntime.__version__} here has no CUDA: pip install onnxruntime-gpu in place of "
                "onnxruntime, or write --gpus-per-replica 0"
            )
        # float32 means float32, and the algorithm must not be the fastest of a race.
        cuda = {"device_id": device.index or 0, "use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}
        providers = [("CUDAExecutionProvider", cuda), *providers]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common class
        raise RaysmoothError(
            f"onnxruntime {onnxruntime.__version__} does not take {where} ({one_line(error)}): export it with an older "
            "opset, or update onnxruntime"
        ) from None
    if device.type == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise RaysmoothError(
            f"onnxruntime {onnxruntime.__version__} cannot use the GPU (its CUDA or cuDNN is missing): install "
            "onnxruntime-gpu for this CUDA, or write --gpus-per-replica 0"
        )
    return session
