"""Folders of images: their structure, names, links, and what is no image in them."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random

from PIL import Image

from fuzz.case import Kind, Play, Request
from fuzz.kinds.image_files import FOLDER, build_images, pixels
from fuzz.kinds.weights_files import CARD, build_weights
from fuzz.reading import read_all
from fuzz.values import SECRET, TEXTS
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant

NETWORK, WEIGHTS = "small_cnn:num_classes=2,width=1", "n.safetensors"
NAMES = (
    b"caf\xe9", b"\xff\xfe", "\U0001f600".encode(), b"a\nFORGED", b"\x1b[31mred", b"a\rb", b"\x07", b" ", b"a b",
    b"-rf", b"..a",
    b".hidden", b"__MACOSX", b"@eaDir", b"lost+found", b"Thumbs.db", b"n01440764", b"0", b"10", b"9", b"Q" * 255,
    b"$HOME",
    b"'", b'"', b"%s", b"{0}", "e\u0301".encode(), "\u202e".encode(), b"train", b"test", b"val", b"con", b"#", b"a;b",
)  # fmt: skip


def build_folders() -> None:
    build_images()
    build_weights()
    card = {**CARD, "architecture": NETWORK, "dataset": "folder"}
    save_weights(Path(WEIGHTS), build_classifier(Variant.parse(NETWORK)), card)


def play_folder(rng: Random) -> Play:
    done = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            done.append(rng.choice(_ALTERATIONS)(rng))
        except OSError as impossible:  # below a link, a path that is too long
            done.append(f"nothing ({impossible.strerror or 'a path too long'})")
    request = rng.choice(_REQUESTS)(rng)
    return Play("; ".join(done), request)


def _name(rng: Random, suffix: bytes = b"") -> bytes:
    name = rng.choice(NAMES)
    if rng.random() < 0.2:
        name = rng.choice(TEXTS).encode(errors="surrogatepass").replace(b"/", b"_").replace(b"\0", b"_") or b"_"
    return name[: 255 - len(suffix)] + suffix


def _below(rng: Random) -> Path:
    """A folder of the data set; the current one if that is no folder any more."""
    folders = [FOLDER, *(path for path in FOLDER.rglob("*") if path.is_dir() and not path.is_symlink())]
    folders = [path for path in folders if path.is_dir() and not path.is_symlink()]
    return rng.choice(sorted(folders) or [Path()])


def _class(rng: Random) -> str:
    name = _name(rng)
    place = os.path.join(os.fsencode(_below(rng)), name)
    if os.path.lexists(place):
        return "nothing"
    os.makedirs(place, exist_ok=True)
    for number in range(rng.choice((0, 1, 3))):
        Image.fromarray(pixels(number)).save(Path(os.fsdecode(place)) / f"{number}.png")
    return f"a class {name!r}"


def _image(rng: Random) -> str:
    name = _name(rng, rng.choice((b".png", b".PNG", b".jpeg", b"", b".png.txt", b".")))
    place = Path(os.fsdecode(os.path.join(os.fsencode(_below(rng)), name)))
    if os.path.lexists(place):
        return "nothing"
    Image.fromarray(pixels(1)).save(place, "PNG")
    return f"an image {name!r}"


def _link(rng: Random) -> str:
    at = _below(rng) / rng.choice(("link", "link.png", "z"))
    to = rng.choice(
        (".", "..", "/", "/proc/self/fd", "/dev/zero", "missing", SECRET, "../class0", at.name, os.path.abspath(FOLDER))
    )
    if not at.is_symlink() and not at.exists():
        at.symlink_to(to)
    return f"a link {at.name} to {to}"


def _special(rng: Random) -> str:
    at = _below(rng) / "special.png"
    if at.exists() or at.is_symlink():
        return "nothing"
    way = rng.randrange(4)
    if way == 0:
        os.mkfifo(at)
    elif way == 1:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(at))
    elif way == 2:
        with at.open("wb") as sparse:
            sparse.truncate(60 * 2**30)
    else:
        at.mkdir()
    return f"special.png, way {way}"


def _deep(rng: Random) -> str:
    place = _below(rng)
    try:
        for _ in range(rng.choice((5, 300))):
            place = place / "deeper"
            place.mkdir(exist_ok=True)
        Image.fromarray(pixels(2)).save(place / "x.png")
    except OSError:
        pass
    return "folders in folders"


def _gone(rng: Random) -> str:
    files = sorted(file for file in FOLDER.rglob("*.png") if file.is_file())
    for file in rng.sample(files, rng.randrange(len(files) + 1)):
        file.unlink()
    return "images removed"


def _mode(rng: Random) -> str:
    place = _below(rng)
    place.chmod(rng.choice((0o000, 0o500, 0o777)))
    return "permissions"


def _root(rng: Random) -> str:
    """Another thing in place of the whole folder."""
    if FOLDER.is_symlink() or not FOLDER.is_dir():
        return "nothing"
    shutil.rmtree(FOLDER)
    way = rng.randrange(5)
    if way == 0:
        FOLDER.write_bytes(b"x")
    elif way == 1:
        os.mkfifo(FOLDER)
    elif way == 2:
        FOLDER.symlink_to(FOLDER.name)
    elif way == 3:
        FOLDER.mkdir()
    return f"another root, way {way}"


_ALTERATIONS: tuple[Callable[[Random], str], ...] = (
    _class,
    _class,
    _image,
    _image,
    _link,
    _special,
    _deep,
    _gone,
    _mode,
    _root,
)


def _certify(rng: Random) -> list[str]:
    return [
        "certify", "--dataset", "folder", "--data-root", str(FOLDER), "--sigma", "0.25", "--n", "40", "--n0", "10",
        "--alpha",
        "0.1", "--out", "out", "--classifier", NETWORK, "--classifier-weights", WEIGHTS,
    ]  # fmt: skip


def _train(rng: Random) -> list[str]:
    return [
        "train", "classifier", "--dataset", "folder", "--data-root", str(FOLDER), "--classifier", NETWORK, "--recipe",
        "digits-classifier", "--augment", "none", "--device", "cpu", "--loader-workers", "0", "--out", "t.safetensors",
    ]  # fmt: skip


def _root_name(rng: Random) -> list[str]:
    request = _certify(rng)
    request[request.index("--data-root") + 1] = rng.choice(
        [text for text in TEXTS if text not in (SECRET, "/proc/self/environ")]
    )
    request[2] = rng.choice(("folder", "imagenet", "mnist", "cifar10", "parquet", "cifar10-jpeg"))
    return request


def _read(rng: Random) -> Callable[[], object]:
    return read_all(
        rng.choice(("folder", "folder", "folder", "imagenet")), FOLDER, rng.choice((None, "all", "val", *TEXTS[:20]))
    )


_REQUESTS: tuple[Callable[[Random], Request], ...] = (_certify, _train, _root_name, _read, _read, _read)

FOLDERS = Kind("class folders: names, links, special files", build_folders, play_folder)
