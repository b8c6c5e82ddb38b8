import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp, softmax
from scripted import Linear

from raysmooth.actors.attacks.soft_smoothing import log_mean_softmax, logits_of_draws, smoothed_cross_entropy

LOGITS = arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(2, 5)),
                elements=st.floats(-300, 300, width=32))  # fmt: skip


@given(logits=LOGITS)
def test_log_of_the_mean_softmax_also_if_the_softmax_underflows(logits: np.ndarray) -> None:
    exact = logits.astype(np.float64)
    log_softmax = exact - logsumexp(exact, axis=2, keepdims=True)
    expected = logsumexp(log_softmax, axis=0) - np.log(len(exact))
    np.testing.assert_allclose(log_mean_softmax(torch.from_numpy(logits)).numpy(), expected, rtol=1e-5, atol=1e-5)


@given(logits=LOGITS, data=st.data())
def test_gradients_are_finite_whatever_the_logits(logits: np.ndarray, data: st.DataObject) -> None:
    classes = st.integers(0, logits.shape[2] - 1)
    labels = torch.tensor([data.draw(classes) for _ in range(logits.shape[1])])
    leaf = torch.from_numpy(logits).requires_grad_()
    smoothed_cross_entropy(leaf, labels).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_draws_stay_with_their_images() -> None:
    weight, images, noises = (
        np.arange(6.0).reshape(2, 3),
        np.arange(12.0).reshape(4, 3, 1, 1),
        np.zeros((2, 4, 3, 1, 1)),
    )
    noises[1, 2, 0] = 10.0
    logits = logits_of_draws(
        Linear(weight), torch.tensor(images, dtype=torch.float32), torch.tensor(noises, dtype=torch.float32)
    ).detach()
    clean = images[:, :, 0, 0] @ weight.T
    np.testing.assert_allclose(logits[0], clean)
    np.testing.assert_allclose(logits[1, [0, 1, 3]], clean[[0, 1, 3]])
    np.testing.assert_allclose(logits[1, 2], clean[2] + 10 * weight[:, 0])
    expected = -np.log(softmax(logits.numpy(), axis=2).mean(axis=0)[range(4), [0, 1, 0, 1]])
    np.testing.assert_allclose(smoothed_cross_entropy(logits, torch.tensor([0, 1, 0, 1])), expected, rtol=1e-4)
