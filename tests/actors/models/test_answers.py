"""Answers of the users' own classifiers: understood where there is one way to, refused in their own words otherwise."""

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.answers import read_answer
from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import Loaded, check_image
from raysmooth.common.errors import RaysmoothError

BATCH = torch.zeros(3, 1, 2, 2)
LOGITS = torch.tensor([[0.0, 1.0], [3.0, 2.0], [4.0, 5.0]])
LABELS = [1, 0, 1]


class ModelOutput(OrderedDict[str, Any]):
    """As transformers' answer: a mapping whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class Lazy:
    """An array of another library."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return LOGITS.numpy()


Named = namedtuple("Named", ["logits", "aux_logits"])
READ_ONLY = np.broadcast_to(LOGITS.numpy(), (3, 2))

UNDERSTOOD: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda z: z,
    "double": lambda z: z.double(),
    "half": lambda z: z.half(),
    "bfloat16": lambda z: z.bfloat16(),
    "int8": lambda z: z.to(torch.int8),
    "probabilities": lambda z: z.softmax(1),
    "one hot": lambda z: z == z.max(dim=1, keepdim=True).values,
    "strided": lambda z: z.T.contiguous().T,
    "spatial": lambda z: z[:, :, None, None],
    "array": lambda z: z.numpy(),
    "array that cannot be written": lambda z: READ_ONLY,
    "array of the other byte order": lambda z: z.numpy().astype(">f4"),
    "array of another library": lambda z: Lazy(),
    "tuple of one": lambda z: (z,),
    "list of one array": lambda z: [z.numpy()],
    "lists": lambda z: z.tolist(),
    "dict": lambda z: {"logits": z, "features": z[:, :1]},
    "dict of arrays": lambda z: {"logits": z.numpy()},
    "model output": lambda z: ModelOutput(loss=None, logits=z),
    "namespace": lambda z: SimpleNamespace(logits=z, hidden_states=(z, z)),
    "named tuple": lambda z: Named(z, z),
}

UNDERSTOOD_LABELS: dict[str, Any] = {
    "int64": torch.tensor(LABELS),
    "uint8": torch.tensor(LABELS, dtype=torch.uint8),
    "array": np.array(LABELS),
    "int16 array": np.array(LABELS, np.int16),
    "list": LABELS,
    "tuple": tuple(LABELS),
    "numpy integers": [np.int64(label) for label in LABELS],
    "tensors of no dimension": [torch.tensor(label) for label in LABELS],
}


@pytest.mark.parametrize("kind", UNDERSTOOD)
def test_logits(kind: str) -> None:
    answer = read_answer(UNDERSTOOD[kind](LOGITS), BATCH)
    assert answer.shape == (3, 2)
    assert answer.argmax(dim=1).tolist() == LABELS
    answer.isfinite()


@pytest.mark.parametrize("kind", UNDERSTOOD_LABELS)
def test_labels(kind: str) -> None:
    answer = read_answer(UNDERSTOOD_LABELS[kind], BATCH)
    assert not answer.is_floating_point()
    assert answer.tolist() == LABELS


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((LOGITS, torch.zeros(3, 64)), "a tuple of 2 (Tensor (3, 2), Tensor (3, 64)): return the logits alone"),
        ((torch.tensor(LABELS), torch.zeros(3)), "a tuple of 2 (Tensor (3,), Tensor (3,)): return the logits alone"),
        ([*LOGITS], "a list of 3 (Tensor (2,), Tensor (2,), Tensor (2,)): return the logits alone, as one tensor"),
        ([0.5, 1.0, 2.0], "a list of 3 (float, float, float): return the logits alone"),
        ([[1.0, 2.0], [1.0], [1.0, 2.0]], "a list of 3 (list, list, list)"),
        ([None] * 9, "a list of 9 (NoneType, NoneType, NoneType, NoneType, ...)"),
        ((), "returns 0 outputs for 3 images"),
        ({"out": LOGITS, "aux\n": LOGITS}, "a dict (out, aux\\n): return the logits alone, or under the key logits"),
        ({"logits": None}, "a dict (logits)"),
        ({}, "a dict (empty)"),
        (None, "nothing (None): return the logits"),
        ("cat", "an object of type str: return the logits alone"),
        (SimpleNamespace(output=LOGITS), "an object of type SimpleNamespace: return the logits alone"),
        (np.array(["cat", "dog", "cat"]), "an object of type ndarray (3,): return the logits alone"),
        (LOGITS + 0j, "complex numbers: return real logits"),
        (LOGITS.sum(), "returns shape (): it must return logits (images, classes)"),
        (LOGITS[:, 0], "returns shape (3,): it must return logits (images, classes), or one integer label"),
        (np.zeros((3, 2, 8, 8)), "returns shape (3, 2, 8, 8): it must return logits"),
        (LOGITS[:2], "returns 2 outputs for 3 images: it must return one for each"),
        ([1, 0], "returns 2 outputs for 3 images"),
    ],
)
def test_refusals_say_what_to_return(answer: Any, message: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        read_answer(answer, BATCH)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "resize" not in str(refused.value)


@pytest.mark.parametrize("kind", [*UNDERSTOOD, *UNDERSTOOD_LABELS])
@pytest.mark.parametrize("module", [True, False])
def test_the_fast_network_reads_the_same(kind: str, module: bool) -> None:
    """Of three images at once; the first call, with two of them, looks at how the answer is made."""

    class Answers(nn.Module):
        num_classes = 2

        def forward(self, batch: torch.Tensor) -> Any:
            if kind in UNDERSTOOD and kind.startswith("array ") and len(batch) != 3:
                return LOGITS[: len(batch)].numpy()  # those that do not depend on the batch
            if kind in UNDERSTOOD:
                return UNDERSTOOD[kind](LOGITS[: len(batch)])
            return UNDERSTOOD_LABELS[kind][: len(batch)]

    classifier = Answers() if module else Answers().forward
    if not module:
        classifier = type("Callable", (), {"num_classes": 2, "__call__": lambda self, batch: Answers()(batch)})()
    model = DenoisedClassifier(None, nn.Identity(), classifier).eval()
    assert model(BATCH).tolist() == LABELS
    network = fast_network(model, ComputeConfig("float32", False, 3), torch.device("cpu"))
    assert network(BATCH).tolist() == LABELS
    assert network.num_classes == 2


@pytest.mark.parametrize(
    ("stated", "count"),
    [(10, 10), (np.int64(10), 10), ("ten", 0), (None, 0), (9.5, 0), (-3, 0), (10**12, 0), ([4, 5], 0)],
)
def test_the_number_of_classes_is_a_sensible_whole_number_or_not_stated(stated: object, count: int) -> None:
    own = SimpleNamespace(num_classes=stated)
    assert DenoisedClassifier(None, torch.nn.Identity(), own).num_classes == count


def test_a_classifier_that_ends_the_program_is_refused() -> None:
    def end(batch: torch.Tensor) -> torch.Tensor:
        raise SystemExit(0)

    spec = BaseClassifierSpec("mine:make")
    with pytest.raises(RaysmoothError, match=r"'mine:make' ends the program when it is called \(SystemExit: 0\)"):
        check_image(Loaded(DenoisedClassifier(None, torch.nn.Identity(), end), spec, {}, {}), BATCH[0])


def test_what_an_own_classifier_raises_is_named_and_the_shape_is_a_possibility_only() -> None:
    def fail(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("line\x1b[31m one\nline two")

    loaded = partial(Loaded, DenoisedClassifier(None, torch.nn.Identity(), fail))
    with pytest.raises(RaysmoothError) as own:
        check_image(loaded(BaseClassifierSpec("mine:make"), {}, {}), BATCH[0])
    assert str(own.value) == (
        "classifier 'mine:make' raised RuntimeError: line one -- correct it or, if it takes no images of shape "
        "(1, 2, 2), choose the data set, --resize/--crop or the model that fits"
    )
    with pytest.raises(
        RaysmoothError, match=r"^classifier 'lenet' rejects images of shape \(1, 2, 2\): line one -- ch"
    ):
        check_image(loaded(BaseClassifierSpec("lenet"), {}, {}), BATCH[0])
