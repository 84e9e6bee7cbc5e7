"""ExecuTorch: a .pte file for its XNNPACK backend."""

from __future__ import annotations

from typing import ClassVar

from sepnet.core.packed_model import PackedModel
from sepnet.exporters.converted import Convert, Converted, Load

__all__ = ["ExecuTorch"]


class ExecuTorch(Converted, frozen=True):
    """Weights are in the file.  What XNNPACK cannot compute, ExecuTorch's portable operators do."""

    name: ClassVar[str] = "executorch"
    extra: ClassVar[str] = "executorch"

    def tools(self, model: PackedModel) -> tuple[Convert, Load]:
        from sepnet.converters.executorch import PteFile, convert, require

        require(f"--to {self.name}", model)
        return convert, lambda data, size: PteFile(data, size).run
