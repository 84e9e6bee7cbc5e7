"""A generated program compiled for this machine."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from importlib.resources import files
from pathlib import Path

from sepnet.c99.compilers import compile_library, has_lanes
from sepnet.c99.library import Library
from sepnet.c99.program import Program, generate
from sepnet.integer.model import IntegerModel

__all__ = ["HostProgram", "compile_host"]


class HostProgram(Library):
    """The network compiled into a folder that goes when this does.

    Args:
        model: the network.
        program: its program; None generates the one that is fastest here.

    Raises `UsageError` where there is no C compiler.
    """

    def __init__(self, model: IntegerModel, program: Program | None = None) -> None:
        folder = tempfile.mkdtemp(prefix="sepnet-")
        weakref.finalize(self, shutil.rmtree, folder, True)
        super().__init__(compile_host(model, Path(folder), program))


def compile_host(model: IntegerModel, folder: Path, program: Program | None = None) -> Path:
    """The shared library, for `Library`, of the network's program, by default of the one that is fastest here.

    Raises `UsageError` where there is no C compiler.
    """
    source, targets = model.values[model.input], [model.values[each.value] for each in model.outputs]
    outputs = [
        {"name": each.name, "shape": value.shape, "sides": each.view.sides, "factors": each.view.factors}
        for each, value in zip(model.outputs, targets, strict=True)
    ]
    ports = {"shape": source.shape, "sides": model.view.sides, "factors": model.view.factors, "outputs": outputs}
    facts = {
        "INPUT_SCALE": float(source.scale).hex(),
        "PORTS": json.dumps(json.dumps(ports)),
        "SIZES": ", ".join(str(value.elements) for value in targets),
        "SCALES": ", ".join(float(value.scale).hex() for value in targets),
        "ZEROS": ", ".join(str(value.zero) for value in targets),
    }
    defined = "".join(f"#define HOST_{name} {value}\n" for name, value in facts.items())
    calls = (files("sepnet.c99") / "kernels" / "host.c").read_text().replace("@FACTS@\n", defined)
    return compile_library(program or generate(model, has_lanes()), calls, folder)
