"""An ONNX file in memory: its bytes and those of its external data, which must lie beside it, and their digest.

No path in the file is followed out of its folder, and nothing in it is run: it is a protobuf.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any

from raysmooth.actors.models.formats.refused_programs import kind_of_program, refuse_program
from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.storage.download_cache import local_copy
from raysmooth.storage.records import shown_path
from raysmooth.storage.store_urls import is_url

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

SUFFIX = ".onnx"
"""Names of files that may have external data beside them."""

MOST_BYTES = 2**31 - 2**20
"""The largest network, external data included: protobuf has a limit of 2 GiB."""

_MOST_FILES = 1000
"""The most files of external data."""

_DEEPEST = 20
"""How deep graphs may be nested in attributes of nodes (If, Loop)."""


@dataclass(frozen=True)
class OnnxFile:
    """A network with all its tensors. `digest`: SHA-256, in hex, over the file and its external data, each with its
    name. `where`: the path as the user wrote it, for messages.
    """

    model: "ModelProto"
    digest: str
    where: str


def import_onnx() -> ModuleType:
    """The package onnx. Raises RaysmoothError where it or onnxruntime is missing."""
    try:
        import onnx
        import onnxruntime  # noqa: F401 -- it will be needed
    except ImportError as error:
        raise RaysmoothError(f"ONNX files need onnx and onnxruntime ({error}): pip install 'raysmooth[onnx]'") from None
    return onnx


def read_onnx(where: str) -> OnnxFile:
    """The network in the ONNX file at `where`, a path or an object store's URL, with its external data read into it.

    Raises RaysmoothError for a file that is missing, unreadable, too large or no ONNX, and for external data that is
    missing, too short, or outside the file's folder.
    """
    onnx = import_onnx()
    file = _local(where)
    content = _bytes(file, MOST_BYTES)
    model = _parsed(onnx, content, file)
    digest, left, read = hashlib.sha256(content), MOST_BYTES - len(content), {}
    for location in _locations(model, where):
        read[location] = _bytes(_beside(where, location), left, f"external data of {shown_path(where)}")
        left -= len(read[location])
        digest.update(f"\0{location}\0{len(read[location])}\0".encode())
        digest.update(read[location])
    left = MOST_BYTES - len(content)
    for tensor in tensors(model):
        if tensor.data_location == tensor.EXTERNAL:
            left -= _embed(tensor, read, where, left)
    return OnnxFile(model, digest.hexdigest(), where)


def external_files(path: str | os.PathLike[str]) -> list[str]:
    """Paths or URLs of the external data of an ONNX file, sorted; none for a file of another name, or a broken one.

    Raises RaysmoothError for data outside the file's folder.
    """
    where = str(path)
    if not where.lower().endswith(SUFFIX):
        return []
    try:
        file = _local(where)
        model = _parsed(import_onnx(), _bytes(file, MOST_BYTES), file)
    except RaysmoothError:
        return []  # refused where it is read
    return [str(_named_beside(where, location)) for location in _locations(model, where)]


def tensors(model: "ModelProto") -> Iterator["TensorProto"]:
    """All tensors of a network: initialisers and constants, those of graphs in nodes too."""
    for graph in graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)


def graphs(model: "ModelProto") -> Iterator["GraphProto"]:
    """The graph of a network, and those in its nodes. Raises RaysmoothError if they are nested too deep."""
    level = [model.graph]
    for _ in range(_DEEPEST):
        yield from level
        level = [
            inner
            for graph in level
            for node in graph.node
            for attribute in node.attribute
            for inner in (attribute.g, *attribute.graphs)
            if inner.node
        ]
        if not level:
            return
    raise RaysmoothError(f"the ONNX graph has more than {_DEEPEST} graphs one in another: export a plain network")


def _local(where: str) -> Path:
    try:
        return local_copy(where) if is_url(where) else Path(where)
    except RaysmoothError as refusal:
        raise RaysmoothError(f"weights {where}: {refusal}") from refusal


def _bytes(file: Path, most: int, what: str = "ONNX file") -> bytes:
    """The content of a regular file of at most `most` bytes."""
    try:
        if file.is_dir():
            refuse_program(file)
            raise RaysmoothError(f"{what} {shown_path(file)} is a folder: give the path of the .onnx file in it")
        if not file.exists():
            raise RaysmoothError(f"{what} {shown_path(file)} does not exist: give its path")
        if not file.is_file():
            raise RaysmoothError(f"{what} {shown_path(file)} is no regular file: give the path of one")
        if file.stat().st_size > most:
            raise _too_large(file)
        with file.open("rb") as opened:
            content = opened.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise RaysmoothError(f"{what} {shown_path(file)} cannot be read: {reason}") from None
    if len(content) > most:
        raise _too_large(file)
    return content


def _parsed(onnx: Any, content: bytes, file: Path) -> "ModelProto":
    kind = kind_of_program(file)
    if kind not in (None, "an ONNX network"):
        refuse_program(file)
    from google.protobuf.message import DecodeError

    model: ModelProto = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        whole = bool(model.graph.node) and model.ir_version > 0
    except (DecodeError, RecursionError, ValueError, MemoryError):
        whole = False
    if not whole:
        raise RaysmoothError(
            f"{shown_path(file)} is corrupt or no ONNX file: export the network again, with torch.onnx.export, say"
        )
    return model


def _locations(model: "ModelProto", where: str) -> list[str]:
    """The files of external data that a network names, sorted, each a path below its folder."""
    found = {
        _entries(tensor, where).get("location", "")
        for tensor in tensors(model)
        if tensor.data_location == tensor.EXTERNAL
    }
    if found and not where.lower().endswith(SUFFIX):
        raise RaysmoothError(f"{shown_path(where)} has external data: give it a name that ends with {SUFFIX}")
    if len(found) > _MOST_FILES:
        raise RaysmoothError(
            f"{shown_path(where)} has external data in {len(found):,} files: save it with one, "
            "onnx.save(..., save_as_external_data=True, all_tensors_to_one_file=True)"
        )
    for location in found:
        parts = location.replace("\\", "/").split("/")
        inside = location and location.isprintable() and not PurePosixPath(location).is_absolute()
        if not inside or ".." in parts or ":" in parts[0] or "" in parts:
            raise RaysmoothError(
                f"{shown_path(where)} has external data at '{printable(location)}', which is not a path in the file's "
                "folder: save the network again with its data beside it"
            )
    return sorted(found)


def _named_beside(where: str, location: str) -> str:
    """The path or URL of a file in the folder of `where`."""
    if not is_url(where):
        return os.path.join(os.path.dirname(where), location)
    before, question, options = where.partition("?")
    return f"{before.rpartition('/')[0]}/{location}{question}{options}"


def _beside(where: str, location: str) -> Path:
    """The file at `location` in the folder of `where`, which no link leads out of."""
    named = _named_beside(where, location)
    if is_url(where):
        return _local(named)
    folder, file = os.path.realpath(os.path.dirname(where)), Path(named)
    if not Path(os.path.realpath(file)).is_relative_to(folder):
        raise RaysmoothError(
            f"external data {shown_path(file)} is a link out of the folder of {shown_path(where)}: copy the data there"
        )
    return file


def _entries(tensor: "TensorProto", where: str) -> dict[str, str]:
    keys = [entry.key for entry in tensor.external_data]
    if len(set(keys)) < len(keys):
        raise RaysmoothError(f"{shown_path(where)} names external data twice for one tensor: save it again")
    return {entry.key: entry.value for entry in tensor.external_data}


def _embed(tensor: "TensorProto", read: dict[str, bytes], where: str, left: int) -> int:
    """Put the external data of a tensor into it, and return the number of its bytes. Raises RaysmoothError for data
    beyond the end of the file, and for more than `left` bytes: many tensors may name the same ones.
    """
    entries = _entries(tensor, where)
    data = read[entries["location"]]
    offset, length = entries.get("offset", "0"), entries.get("length", "")
    try:
        start = int(offset)
        stop = start + int(length) if length else len(data)
    except ValueError:
        start, stop = -1, -1
    if not 0 <= start <= stop <= len(data):
        raise RaysmoothError(
            f"{shown_path(where)}: the external data of '{printable(tensor.name)}' (offset {printable(offset)}, length "
            f"{printable(length)}) is not in its file, of {len(data):,} bytes: copy both files again"
        )
    if stop - start > left:
        raise _too_large(where)
    tensor.raw_data = data[start:stop]
    tensor.ClearField("external_data")
    tensor.data_location = tensor.DEFAULT
    return stop - start


def _too_large(where: object) -> RaysmoothError:
    return RaysmoothError(
        f"{printable(str(where))}: the network has more than {MOST_BYTES / 2**30:.0f} GiB with its external data: "
        "export it in float16"
    )
