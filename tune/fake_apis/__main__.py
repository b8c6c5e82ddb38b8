"""A fake API as a process: `python -m raysmooth.tune.fake_apis http:throttle=0.1,limit=50`.

It prints one line of JSON, {"endpoint", "bill", "environment"}, and serves until SIGTERM or Ctrl-C.
"""

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import asdict

from raysmooth.actors.apis.label_files import read_label_lines
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import read_options
from raysmooth.common.variant import Variant
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import FAKE_APIS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m raysmooth.tune.fake_apis", description=__doc__)
    parser.add_argument("api", help=f"one of {', '.join(FAKE_APIS)}, with its conduct as options")
    parser.add_argument("--port", type=int, default=0, help="any free one unless given")
    parser.add_argument("--classifier", help="a network such as digits_cnn; the nearest colour unless given")
    parser.add_argument("--weights", help="the network's weights, a safetensors file")
    parser.add_argument("--labels", help="a file with a label a line; 0, 1, ... unless given")
    parser.add_argument("--downscale", type=int, default=1, help="the factor by which pictures were upscaled")
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(arguments))
    except (RaysmoothError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until a signal comes. Raises RaysmoothError for arguments that do not fit."""
    from raysmooth.tune.fake_apis.classify import nearest_colour, trained_network
    from raysmooth.tune.fake_apis.service import FakeService

    written = Variant.parse_entry(arguments.api, "fake API", "http:throttle=0.1")
    entry = FAKE_APIS[written.name]
    conduct = read_options(Conduct, written, "fake API")
    if arguments.classifier is None:
        classifier = nearest_colour(arguments.downscale)
    elif arguments.weights is None:
        raise RaysmoothError(f"--classifier {arguments.classifier} has no weights: write --weights FILE")
    else:
        import torch

        torch.set_num_threads(1)  # its pictures are small, and others need the cores
        labels = None if arguments.labels is None else read_label_lines("--labels", arguments.labels)
        classifier = trained_network(arguments.classifier, arguments.weights, labels, arguments.downscale)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with entry.serve(FakeService(conduct, classifier), arguments.port) as address:
        print(json.dumps(asdict(address)), flush=True)
        await over.wait()


if __name__ == "__main__":
    main()
