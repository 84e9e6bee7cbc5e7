"""LiteRT, formerly TensorFlow Lite: a .tflite file by litert-torch."""

from __future__ import annotations

from collections import defaultdict
from typing import ClassVar

from sepnet.core.exporter import ExportRow
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.converted import Convert, Converted, Load
from sepnet.runtimes.litert import TfliteFile

__all__ = ["Tflite"]


class Tflite(Converted, frozen=True):
    """Weights are in the flatbuffer, each a constant tensor of its type."""

    name: ClassVar[str] = "tflite"
    extra: ClassVar[str] = "litert"

    def tools(self, model: PackedModel) -> tuple[Convert, Load]:
        from sepnet.converters.litert import convert, require

        require(f"--to {self.name}", model)
        return convert, lambda data, size: TfliteFile(data).run

    def rows(self, data: bytes) -> tuple[ExportRow, ...]:
        """A row a type of constants, and one of all the rest."""
        from ai_edge_litert import schema_py_generated as schema

        file = schema.Model.GetRootAs(data, 0)
        sizes: dict[str, int] = defaultdict(int)
        types = {value: key.lower() for key, value in vars(schema.TensorType).items() if key.isupper()}
        graph = file.Subgraphs(0)
        kinds = {tensor.Buffer(): types[tensor.Type()] for tensor in map(graph.Tensors, range(graph.TensorsLength()))}
        for at, kind in kinds.items():
            buffer = file.Buffers(at)
            sizes[kind] += buffer.DataLength() or buffer.Size()
        rows = [ExportRow("constants", (), kind, size) for kind, size in sizes.items() if size]
        return (*rows, ExportRow("graph", (), "", len(data) - sum(row.bytes for row in rows)))
