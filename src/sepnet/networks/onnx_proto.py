"""An `.onnx` file as the onnx package reads it, with what may go wrong said in one line."""

from __future__ import annotations

import os
from typing import Any

from sepnet.core.errors import MissingExtraError, NetworkError
from sepnet.core.spec import describe

__all__ = ["load_proto"]


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
        proto = onnx.load(os.fspath(path), load_external_data=external)
        if proto.functions:
            from onnx import inliner

            proto = inliner.inline_local_functions(proto)
    except OSError as problem:
        raise NetworkError(f"cannot read {path}: {problem.strerror or problem}") from problem
    except Exception as problem:  # a damaged file raises almost anything
        raise NetworkError(f"{path} is not an ONNX file: {describe(problem)[:200]}") from problem
    if not proto.graph.node:
        raise NetworkError(f"{path} is not an ONNX file, or its graph is empty")
    return proto
