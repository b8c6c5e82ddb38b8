"""A black box of one's own: a classifier of handwritten digits without PyTorch, behind HTTP. raysmooth certifies it
through what it answers, and knows nothing of what is inside: docs/vision-apis.md.

    python examples/black_box/serve.py --port 8000

NumPy does the arithmetic: ridge regression on random features of scikit-learn's digits, some of them with noise, from
weights that are fitted once. If the environment has BLACK_BOX_KEY, requests must have it in the header X-Api-Key.
"""

import argparse
import hashlib
import io
import os
from pathlib import Path

import numpy as np
from aiohttp import web
from PIL import Image

CLASSES = [str(digit) for digit in range(10)]
SIDE = 8


def fit(path: Path, sigma: float = 0.25) -> None:
    """Fit the weights on 1,397 of the 1,797 digits (raysmooth tests on the last 400), and save them."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    pixels = np.repeat(images[:-400] / 16, 4, axis=0)
    pixels += sigma * generator.standard_normal(pixels.shape)
    random = generator.standard_normal((SIDE * SIDE, 500)) / 4
    shift = generator.standard_normal(500)
    features = np.tanh(pixels @ random + shift)
    wanted = np.eye(10)[np.repeat(labels[:-400], 4)] - 0.1
    output = np.linalg.solve(features.T @ features + 10 * np.eye(500), features.T @ wanted)
    np.savez(path, random=random, shift=shift, output=output)


class Digits:
    """The classifier. `version`: the beginning of a digest of its weights."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as weights:
            self.random, self.shift, self.output = weights["random"], weights["shift"], weights["output"]
        self.version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities (10,) of pixels (8, 8) in [0, 1]."""
        logits = 10 * np.tanh(pixels.ravel() @ self.random + self.shift) @ self.output
        shares = np.exp(logits - logits.max())
        return shares / shares.sum()


def application(digits: Digits, key: str | None) -> web.Application:
    """POST /classify takes an image file; {"labels": [{"name", "score"}, ...], "model"} comes back, the best first."""

    async def classify(request: web.Request) -> web.Response:
        if key is not None and request.headers.get("X-Api-Key") != key:
            return web.json_response({"error": "wrong key"}, status=401)
        try:
            image = Image.open(io.BytesIO(await request.read())).convert("L")
        except OSError:
            return web.json_response({"error": "not a picture"}, status=422)
        if image.size != (SIDE, SIDE):
            return web.json_response({"error": f"not {SIDE} by {SIDE} pixels"}, status=422)
        scores = digits.scores(np.asarray(image) / 255)
        best = [{"name": CLASSES[place], "score": float(scores[place])} for place in np.argsort(-scores)]
        return web.json_response({"labels": best, "model": digits.version})

    app = web.Application()
    app.add_routes([web.post("/classify", classify)])
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one, which is printed")
    parser.add_argument("--weights", type=Path, default=Path(__file__).with_name("weights.npz"))
    arguments = parser.parse_args()
    if not arguments.weights.exists():
        fit(arguments.weights)
    app = application(Digits(arguments.weights), os.environ.get("BLACK_BOX_KEY"))
    web.run_app(app, host="127.0.0.1", port=arguments.port, print=lambda text: print(text, flush=True), access_log=None)


if __name__ == "__main__":
    main()
