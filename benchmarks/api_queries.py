"""What a query of a vision API costs besides the API: making and encoding its picture, and asking a local server.

    python benchmarks/api_queries.py [--queries 300] [--rate 50]

The server is a fake API in a process of its own, without latency. Processor time is that of this process, which other
load on the machine changes less than the wall clock.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from urllib.request import urlopen

import numpy as np
from rich.console import Console
from rich.table import Table

from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.actors.queries.events import Answered, Event
from raysmooth.actors.queries.noise import noise_of
from raysmooth.actors.queries.pictures import picture, read_encoding, read_upscale
from raysmooth.actors.queries.rate_bucket import RateBucket
from raysmooth.actors.queries.sender import Query, Sender, SendingLimits

SIDES = (32, 64, 224)
ENCODINGS = ("png:level=0", "png:level=1", "png:level=6", "png:level=9", "jpeg:quality=95")
GAUSSIAN = Gaussian(0.25)


def image_of(side: int) -> np.ndarray:
    """Float32 pixels (3, side, side): smooth, as photographs mostly are."""
    along = np.linspace(0, np.pi, side, dtype=np.float32)
    waves = [np.sin(along[:, None] * (1 + channel)) * np.cos(along[None, :] * 2) for channel in range(3)]
    return np.stack(waves).astype(np.float32) / 2 + np.float32(0.5)


def encoding_costs(draws: int) -> Table:
    table = Table("side", "encoding", "ms noise", "ms picture", "bytes", box=None)
    for side in SIDES:
        image = image_of(side)
        keys = [DrawKey(image_digest(image), Role.ESTIMATION, draw) for draw in range(draws)]
        began = process_time()
        noisy = [image + noise_of(key, 0, GAUSSIAN, image.shape) for key in keys]
        noise = (process_time() - began) / draws
        for text in ENCODINGS:
            encoding, upscale = read_encoding(text), read_upscale("none")
            picture(noisy[0], encoding, upscale)  # imports
            began = process_time()
            files = [picture(pixels, encoding, upscale).encoded or b"" for pixels in noisy]
            each = (process_time() - began) / draws
            size = np.mean([len(file) for file in files])
            table.add_row(str(side), text, f"{1e3 * noise:.2f}", f"{1e3 * each:.2f}", f"{size:,.0f}")
    return table


@contextmanager
def fake(api: str) -> Iterator[dict[str, Any]]:
    """A fake API in a process of its own: its address."""
    command = [sys.executable, "-m", "raysmooth.tune.fake_apis", api]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())
            os.environ.update(address["environment"])
            yield address
        finally:
            process.terminate()


@dataclass(frozen=True)
class Asked:
    """`rate`: queries a second; `processor`: seconds of this process for one."""

    rate: float
    processor: float
    bill: dict[str, Any]


async def ask(classifier: str, address: dict[str, Any], queries: int, side: int, rate: float | None) -> Asked:
    """Ask for the same picture, through the sender that replicas have."""
    _, entry, options = read_api(classifier)
    ready = picture(image_of(side), read_encoding("png"), read_upscale("none"), entry.takes_numbers)
    limits = SendingLimits(entry.concurrency, entry.most_pictures, 30.0, 600.0)
    sender = Sender(entry.make(options, address["endpoint"]), limits, RateBucket(rate))
    number = iter(range(10**9))

    async def send(queries: int) -> tuple[float, float]:
        """Seconds and processor seconds for this number."""
        left, over = queries, asyncio.Event()

        def report(event: Event) -> None:
            nonlocal left
            left -= isinstance(event, Answered)
            if not left:
                over.set()

        began, used = perf_counter(), process_time()
        for _ in range(queries):
            sender.submit(Query(0, DrawKey("", Role.ESTIMATION, next(number)), ready, "", report))
        await over.wait()
        return perf_counter() - began, process_time() - used

    await send(2 * entry.concurrency)  # imports, connections
    seconds, processor = await send(queries)
    await sender.close()
    with urlopen(address["bill"]) as bill:
        return Asked(queries / seconds, processor / queries, json.load(bill))


def asking_costs(queries: int, rate: float, folder: Path) -> Table:
    (folder / "request.yaml").write_text(
        "headers:\n  X-Api-Key: ${FAKE_API_KEY}\nlabels: labels[*].label\nscores: labels[*].score\n"
    )
    (folder / "labels.txt").write_text("red\ngreen\nblue\nblack\nwhite\ngrey\n")
    classifiers = {
        "http": f"http:request={folder}/request.yaml",
        "openai": f"openai:model=fake,labels={folder}/labels.txt",
        "oip": "oip:model=fake,classes=9,batch=16,binary=true",
        "google": "google",
    }
    table = Table("API", "side", "server's limit", "own rate", "queries/s", "ms processor", "throttled", box=None)
    for name, classifier in classifiers.items():
        for side in (32, 224):
            with fake(name) as address:
                found = asyncio.run(ask(classifier, address, queries, side, None))
            row = (f"{found.rate:.0f}", f"{1e3 * found.processor:.2f}", f"{found.bill['throttled']}")
            table.add_row(name, str(side), "none", "none", *row)
    for own in (rate, None):
        with fake(f"http:limit={rate:g}") as address:
            found = asyncio.run(ask(classifiers["http"], address, queries, 32, own))
        row = (f"{found.rate:.1f}", f"{1e3 * found.processor:.2f}", f"{found.bill['throttled']}")
        table.add_row("http", "32", f"{rate:g}/s", "none" if own is None else f"{own:g}/s", *row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rate", type=float, default=50.0, help="pictures a second, of the server and of the bucket")
    arguments = parser.parse_args()
    console = Console(width=160)
    console.print(encoding_costs(max(1, arguments.queries // 10)))
    with tempfile.TemporaryDirectory() as folder:
        console.print(asking_costs(arguments.queries, arguments.rate, Path(folder)))
    console.print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
