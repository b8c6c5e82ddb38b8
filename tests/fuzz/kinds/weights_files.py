"""Weights files: safetensors and their cards, torch's archives, pickles."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file

from fuzz.case import Expected, Kind, Play, Request
from fuzz.damage import damage, damaged, replaced_by_other
from fuzz.sandbox import CANARY
from fuzz.values import NUMBERS, OWN, TEXTS, altered_tree, json_text, odd_value, shown
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.networks.rejector import RejectorNetwork
from raysmooth.actors.models.stage_features import find_taps
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant

CLASSIFIER, DENOISER = "digits_cnn:width=2", "dncnn:channels=1,depth=3,width=2"
NETWORK, FILTER, REJECTOR = Path("w.safetensors"), Path("d.safetensors"), Path("r.safetensors")
CHECKPOINT = Path("w.pth")
CARD = {
    "architecture": CLASSIFIER, "objective": "clean", "noise": "gaussian", "sigma": 0.25, "preprocess": "none",
    "dataset": "digits", "split": "train", "training": "0" * 64, "data": {"fingerprint": "0" * 64, "images": 9},
    "metrics": {"accuracy": 0.9}, "recipe": {"name": "digits", "phases": [{"epochs": 1}]},
}  # fmt: skip
OWN_MODULE = f"from pathlib import Path\nPath('{CANARY}').touch()\ndef make(**_): ...\n"


def build_weights() -> None:
    """A classifier's, a denoiser's and a rejector's weights, and a module that must not be imported."""
    torch.manual_seed(0)
    network = build_classifier(Variant.parse(CLASSIFIER))
    save_weights(NETWORK, network, CARD)
    save_weights(
        FILTER, build_denoiser(Variant.parse(DENOISER)), {**CARD, "architecture": DENOISER, "objective": "mse"}
    )
    rejector = RejectorNetwork(find_taps(network, torch.rand(2, 1, 8, 8)), 10, (1, 8, 8), 2, 10)
    save_weights(REJECTOR, rejector, {**CARD, **rejector.card, "objective": "disagreement"})
    torch.save({"arch": CLASSIFIER, "state_dict": network.state_dict(), "epoch": 3}, CHECKPOINT)
    Path(f"{OWN}.py").write_text(OWN_MODULE)


def _request(rng: Random, file: Path) -> Request:
    common = ["--dataset", "digits", "--sigma", "0.25", "--max", "20"]
    certify = [
        "certify",
        *common,
        "--n",
        "40",
        "--n0",
        "10",
        "--alpha",
        "0.1",
        "--out",
        "out",
        "--classifier",
        CLASSIFIER,
    ]
    if file == REJECTOR:
        known = ["--classifier-weights", str(NETWORK), "--rejector-weights", str(file)]
        return [*certify, *known, "--rejector", rng.choice(("network", "network:threshold=0.4"))]
    if file == FILTER:
        behind = ["--classifier-weights", str(NETWORK), "--denoiser", DENOISER, "--denoiser-weights", str(file)]
        short = [*behind[:3], "dncnn", *behind[4:]]
        return rng.choice(([*certify, *behind], [*certify, *short]))
    train = [
        "train", "denoiser", *common, "--denoiser", DENOISER, "--objective", "clf", "--recipe", "digits-mse", "--out",
        "t.safetensors", "--classifier", CLASSIFIER, "--device", "cpu",
    ]  # fmt: skip
    return rng.choice(
        (
            [*certify, "--classifier-weights", str(file)],
            [*certify, "--classifier-weights", str(file)],
            [*train, "--classifier-weights", str(file)],
            [*train[:-4], "--surrogates", str(file) if file == NETWORK else f"{CLASSIFIER}@{file}", "--device", "cpu"],
        )
    )


def play_safetensors(rng: Random) -> Play:
    file = rng.choice((NETWORK, NETWORK, FILTER, REJECTOR))
    altered, expected = rng.choice(_SAFETENSORS)(rng, file)
    return Play(f"{file.name}: {altered}", _request(rng, file), expected)


def play_checkpoint(rng: Random) -> Play:
    altered, expected = rng.choice(_CHECKPOINTS)(rng, CHECKPOINT)
    return Play(f"{CHECKPOINT.name}: {altered}", _request(rng, CHECKPOINT), expected)


Alteration = Callable[[Random, Path], tuple[str, Expected]]


def _parts(file: Path) -> tuple[dict[str, Any], bytes]:
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _join(file: Path, header: bytes, data: bytes, length: int | None = None) -> None:
    file.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)


def _header(rng: Random, file: Path) -> tuple[str, Expected]:
    header, data = _parts(file)
    altered, what = altered_tree(rng, header)
    text, how = json_text(rng, altered)
    _join(file, text, data)
    return f"header: {what} {how}", Expected.ANY


def _length(rng: Random, file: Path) -> tuple[str, Expected]:
    header, data = _parts(file)
    text = json.dumps(header).encode()
    length = rng.choice((0, 1, 7, len(text) - 1, len(text) + 1, len(text) + len(data), 10**8, 2**31, 2**63, 2**64 - 1))
    _join(file, text, data, length)
    return f"header of {length} bytes", Expected.REFUSED if length != len(text) else Expected.ANY


def _entry(rng: Random, file: Path) -> tuple[str, Expected]:
    """One tensor's dtype, shape or place."""
    header, data = _parts(file)
    name = rng.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    way = rng.randrange(5)
    if way == 0:
        entry["dtype"] = rng.choice(
            ("F64", "F16", "BF16", "I8", "U8", "BOOL", "I64", "F8_E4M3", "C64", "X", "", 32, None)
        )
    elif way == 1:
        entry["shape"] = rng.choice(
            ([], [0], [-1], [2**63], [2**32, 2**32], entry["shape"][::-1], [*entry["shape"], 1], [1.5])
        )
    elif way == 2:
        begin, end = entry["data_offsets"]
        entry["data_offsets"] = rng.choice(
            ([end, begin], [begin, begin], [0, 2**63], [-1, end], [begin, end + 4], [begin - 4, end], [begin], [])
        )
    elif way == 3:
        other = rng.choice([key for key in header if key not in ("__metadata__", name)])
        entry["data_offsets"] = header[other]["data_offsets"]
    else:
        entry[rng.choice(("dtype", "shape", "data_offsets"))] = odd_value(rng)
    _join(file, json.dumps(header).encode(), data)
    return f"{name} is {shown(entry)}", Expected.ANY


def _keys(rng: Random, file: Path) -> tuple[str, Expected]:
    header, data = _parts(file)
    name = rng.choice([key for key in header if key != "__metadata__"])
    new = rng.choice((*TEXTS, name.upper(), f"{name}.", f".{name}"))
    header[new] = header.pop(name)
    _join(file, json.dumps(header).encode(errors="surrogatepass"), data)
    return f"{name} is called {shown(new)}", Expected.REFUSED


def _card(rng: Random, file: Path) -> tuple[str, Expected]:
    header, data = _parts(file)
    altered, what = altered_tree(rng, json.loads(header["__metadata__"]["card"]))
    text, how = json_text(rng, altered)
    header["__metadata__"]["card"] = text.decode(errors="replace")
    _join(file, json.dumps(header).encode(), data)
    return f"card: {what} {how}", Expected.ANY


def _own_code(rng: Random, file: Path) -> tuple[str, Expected]:
    header, data = _parts(file)
    card = json.loads(header["__metadata__"]["card"])
    card[rng.choice(("architecture", "architecture", "arch", "preprocess", "objective"))] = f"{OWN}:make"
    header["__metadata__"]["card"] = json.dumps(card)
    _join(file, json.dumps(header).encode(), data)
    return "its card names code", Expected.ANY


def _tensors(rng: Random, file: Path) -> tuple[str, Expected]:
    """Well-formed files of other tensors."""
    from safetensors.torch import load_file

    header, _ = _parts(file)
    tensors = load_file(file)
    name = rng.choice(sorted(tensors))
    way = rng.randrange(9)
    expected = Expected.REFUSED
    if way == 0:
        del tensors[name]
        if name.endswith("num_batches_tracked"):  # which torch of before 2018 did not write
            expected = Expected.ANY
    elif way == 1:
        tensors[f"{name}_"] = tensors[name].clone()
    elif way == 2:
        tensors[name] = tensors[name][None].contiguous().clone()
    elif way == 3:
        tensors = {
            key: value.to(rng.choice((torch.int8, torch.int64, torch.uint8, torch.bool)))
            for key, value in tensors.items()
        }
    elif way == 4:
        tensors = {}
    elif way == 5:
        tensors[name] = torch.full_like(tensors[name], rng.choice((float("nan"), float("inf"))), dtype=torch.float32)
        expected = Expected.ANY
    elif way == 6:
        tensors, expected = dict(reversed(tensors.items())), Expected.READ
    elif way == 7:
        tensors, expected = {f"module.{key}": value for key, value in tensors.items()}, Expected.READ
    else:
        tensors, expected = (
            {key: value.double() if value.is_floating_point() else value for key, value in tensors.items()},
            Expected.READ,
        )
    save_file(tensors, file, metadata=header["__metadata__"])
    return f"tensors, way {way} ({name})", expected


def _bytes(rng: Random, file: Path) -> tuple[str, Expected]:
    return damage(rng, file, CHECKPOINT.read_bytes()), Expected.ANY


def _other(rng: Random, file: Path) -> tuple[str, Expected]:
    return replaced_by_other(rng, file), Expected.REFUSED


def _exchanged(rng: Random, file: Path) -> tuple[str, Expected]:
    """The content of another kind of file under this name."""
    content = rng.choice(
        (CHECKPOINT.read_bytes(), b"PK\x03\x04", b"\x80\x02.", b"{}", b"\x93NUMPY", b"version https://git-lfs")
    )
    file.write_bytes(content)
    return f"holds {shown(content[:12])}", Expected.ANY


_SAFETENSORS: tuple[Alteration, ...] = (
    _header, _header, _length, _entry, _entry, _keys, _card, _card, _card, _own_code, _tensors, _tensors, _bytes,
    _other,
    _exchanged,
)  # fmt: skip


class Evil:
    """Pickles to a call, which makes the canary when it is read."""

    def __init__(self, rng: Random) -> None:
        touch = f"touch {CANARY}"
        self._call: tuple[Any, ...] = rng.choice(
            (
                (os.system, (touch,)),
                (exec, (f"open({CANARY!r}, 'w')",)),
                (eval, (f"open({CANARY!r}, 'w')",)),
                (Path.touch, (Path(CANARY),)),
                (open, (CANARY, "w")),
                (__import__, (OWN,)),
                (getattr, (__import__, "x")),
                (torch.load, (CANARY,)),
                (torch.jit.load, (CANARY,)),
            )
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def _evil(rng: Random, file: Path) -> tuple[str, Expected]:
    state = torch.load(file, weights_only=True)["state_dict"]
    evil = Evil(rng)
    holder: Any = rng.choice(
        (evil, {"state_dict": state, "x": evil}, [state, evil], {"state_dict": evil}, {**state, "x": evil})
    )
    way = rng.randrange(3)
    if way == 0:
        torch.save(holder, file)
    elif way == 1:
        torch.save(holder, file, _use_new_zipfile_serialization=False)
    else:
        file.write_bytes(pickle.dumps(holder, rng.choice((0, 2, 4, 5))))
    return f"a pickle that calls {evil._call[0].__name__}", Expected.REFUSED


def _content(rng: Random, file: Path) -> tuple[str, Expected]:
    """Odd values beside or in place of tensors."""
    found = torch.load(file, weights_only=True)
    state = found["state_dict"]
    name = rng.choice(sorted(state))
    way = rng.randrange(10)
    expected = Expected.ANY
    if way == 0:
        state[name], expected = rng.choice((*TEXTS, *NUMBERS, None, [1.0])), Expected.REFUSED
    elif way == 1:
        state[rng.choice((*NUMBERS, None, (1, 2)))] = state.pop(name)
        expected = Expected.REFUSED
    elif way == 2:
        state[rng.choice(TEXTS)] = state.pop(name)
        expected = Expected.REFUSED
    elif way == 3:
        found["arch"] = odd_value(rng)
    elif way == 4:
        found = {rng.choice(TEXTS): found}
    elif way == 5:
        deep: Any = found
        for _ in range(rng.choice((2, 3, 10, 60))):
            deep = {"model": deep}
        found = deep
    elif way == 6:
        found = {"state_dict": state, rng.choice(("ema", "model_ema", *TEXTS)): {k: v + 1 for k, v in state.items()}}
        expected = Expected.REFUSED
    elif way == 7:
        state[name] = rng.choice(
            (
                state[name].to_sparse() if state[name].ndim else state[name], state[name].to(torch.complex64),
                torch.empty(0), state[name].expand(2, *state[name].shape), torch.nn.Parameter(state[name]),
                state[name].to("meta"), torch.quantize_per_tensor(state[name].float(), 0.1, 0, torch.qint8),
            )
        )  # fmt: skip
    elif way == 8:
        found = odd_value(rng)
        expected = Expected.REFUSED
    else:
        found["optimizer"] = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [odd_value(rng)]}
    torch.save(found, file, _use_new_zipfile_serialization=rng.random() < 0.8)
    return f"content, way {way}", expected


def _archive(rng: Random, file: Path) -> tuple[str, Expected]:
    """The zip archive around the pickle."""
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    name = rng.choice(sorted(entries))
    way = rng.randrange(8)
    if way == 0:
        del entries[name]
    elif way == 1:
        entries[name] = b""
    elif way == 2:
        entries[name], _ = damaged(rng, entries[name])
    elif way == 3:
        entries[rng.choice(("../../" + CANARY, "/tmp/x", "a/" * 200, *TEXTS[:8]))] = b"x"
    elif way == 4:
        entries = {key.replace("w/", rng.choice(("", "v/", "x/y/"))): value for key, value in entries.items()}
    elif way == 5:
        entries[name] = bytes(10**8)
    elif way == 6:
        entries["w/constants.pkl"] = entries["w/code/x.py"] = b"x"
    else:
        other = rng.choice(sorted(entries))
        entries[name], entries[other] = entries[other], entries[name]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for key, value in entries.items():
            archive.writestr(key.replace("\0", "?").encode(errors="replace").decode() or "?", value)
    file.write_bytes(buffer.getvalue())
    return f"archive, way {way} ({name})", Expected.ANY


def _opcodes(rng: Random, file: Path) -> tuple[str, Expected]:
    """A pickle that is small and does not end well."""
    bomb = b"\x80\x02]q\x00" + b"(h\x00h\x00h\x00h\x00e" * 3 + b"."
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    numbers = b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x."
    doubling = b"\x80\x02X\x01\x00\x00\x00a" + b"2\x86" * 60 + b"."
    memory = b"\x80\x02\x8e" + struct.pack("<Q", 2**62) + b"x."
    content = rng.choice(
        (bomb, deep, numbers, doubling, memory, b"\x80\x04.", b"\x80\x02N.", b"cos\nsystem\n(S'x'\ntR.")
    )
    file.write_bytes(content)
    return f"the pickle {shown(content[:20])}", Expected.REFUSED


def _layout(rng: Random, file: Path) -> tuple[str, Expected]:
    """As training scripts write them."""
    state = torch.load(file, weights_only=True)["state_dict"]
    container = rng.choice(("net", "model", "state_dict", "model_state", "network", "weights"))
    prefix = rng.choice(("", "module.", "_orig_mod.", "module._orig_mod.", "model."))
    torch.save({container: {prefix + key: value for key, value in state.items()}, "acc": 1.5}, file)
    return f"{container}, keys with {prefix or 'no prefix'}", Expected.READ


_CHECKPOINTS: tuple[Alteration, ...] = (
    _evil, _evil, _content, _content, _archive, _opcodes, _bytes, _bytes, _other, _exchanged, _layout,
)  # fmt: skip

SAFETENSORS = Kind("weights: safetensors and their cards", build_weights, play_safetensors)
CHECKPOINTS = Kind("weights: torch's files and pickles", build_weights, play_checkpoint)
