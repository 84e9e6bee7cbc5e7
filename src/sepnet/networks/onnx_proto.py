"""An `.onnx` file as the onnx package reads it, with what may go wrong said in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sepnet.core.errors import MissingExtraError, NetworkError
from sepnet.core.spec import describe

__all__ = ["load_proto", "onnx_files"]


def load_proto(path: str | os.PathLike[str], doing: str, external: bool = True) -> Any:
    """The `onnx.ModelProto` of a file, its functions inlined.

    Args:
        path: the file.
        doing: "reading" or "packing", for the message that onnx is not installed.
        external: whether weights in other files are read.

    Raises:
        NetworkError: no ONNX file, or an empty graph.  MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError(f"{doing} {path}", "onnx", "onnx") from None
    try:
        proto = onnx.load(os.fspath(path), load_external_data=False)
        if external:
            _load_weights(proto, Path(path), onnx)
        if proto.functions:
            from onnx import inliner

            proto = inliner.inline_local_functions(proto)
    except NetworkError:
        raise
    except OSError as problem:
        raise NetworkError(f"cannot read {path}: {problem.strerror or problem}") from problem
    except Exception as problem:  # a damaged file raises almost anything
        raise NetworkError(f"{path} is not an ONNX file: {describe(problem)}") from problem
    if not proto.graph.node:
        raise NetworkError(f"{path} is not an ONNX file, or its graph is empty")
    return proto


def onnx_files(path: str | os.PathLike[str]) -> list[Path]:
    """The file, and those beside it that hold its weights.  Raises as `load_proto`."""
    return [Path(path), *_weights_files(load_proto(path, "packing", external=False), Path(path))]


def _weights_files(proto: Any, path: Path) -> list[Path]:
    places = (entry for tensor in proto.graph.initializer for entry in tensor.external_data)
    names = dict.fromkeys(entry.value for entry in places if entry.key == "location")
    return [path.parent / name for name in names]


def _load_weights(proto: Any, path: Path, onnx: Any) -> None:
    for file in _weights_files(proto, path):
        if not file.is_file():
            raise NetworkError(
                f"{path} keeps its weights in {file.name}, which is missing; expected both in one folder"
            )
    onnx.load_external_data_for_model(proto, os.fspath(path.parent))
