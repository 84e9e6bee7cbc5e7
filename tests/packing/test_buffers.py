"""Buffers in the file: as they came, in binary16 only where that holds them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hard_networks import FLOAT, packed
from torch import nn
from torch.nn import functional as F

from sepnet.core.errors import NetworkError
from sepnet.packing.export import export_graph
from sepnet.packing.restore import state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime

SHAPE = (3, 12, 12)


class Positions(nn.Module):
    """Buffers that say where something is, and filters that are no parameters, before a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positions", torch.arange(4000.0, 4012.0))
        self.register_buffer("halves", torch.arange(12) / 2)
        self.register_buffer("thirds", torch.arange(12, dtype=torch.float64) / 3)
        self.register_buffer("short", torch.arange(12, dtype=torch.bfloat16) / 3)
        self.register_buffer("filters", torch.rand(4, 3, 3, 3).half().float())
        self.norm, self.fc = nn.BatchNorm2d(4), nn.Linear(4, 4)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * torch.sin(self.positions) + self.halves * self.thirds.float() + self.short.float()
        return self.fc(self.norm(F.conv2d(x, self.filters)).mean((2, 3)))


def test_buffers_come_back_as_they_were() -> None:
    torch.manual_seed(0)
    net = Positions().eval()
    file = packed((net, export_graph(net, SHAPE), SHAPE), FLOAT, ("dense",))
    kinds = {entry.name: entry.values for entry in file.header.tensors}
    assert kinds["halves"] == kinds["short"] == "float16"
    assert kinds["positions"] == kinds["thirds"] == kinds["filters"] == "float32"
    state = state_dict(file)
    for name in ("positions", "halves", "short"):
        np.testing.assert_array_equal(state[name], net.get_buffer(name).float().numpy())
    np.testing.assert_array_equal(state["thirds"], net.thirds.float().numpy())
    batch = torch.randn(3, *SHAPE)
    with torch.no_grad():
        wanted = net(batch).numpy()
    np.testing.assert_allclose(OnnxRuntime(file).run(batch.numpy()), wanted, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("buffer", "words"),
    [
        (torch.tensor([1e300] * 12, dtype=torch.float64), "'at' holds numbers that float32 does not, up to 1e\\+300"),
        (torch.tensor([2**40] * 12), "'at' holds integers that 32 bits cannot"),
    ],
)
def test_buffers_that_a_file_cannot_hold_are_refused(buffer: torch.Tensor, words: str) -> None:
    class At(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 4)
            self.register_buffer("at", buffer)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc((x.mean((1, 2)) * (self.at / self.at)).float())

    net = At()
    with pytest.raises(NetworkError, match=words):
        packed((net, export_graph(net, SHAPE), SHAPE), FLOAT, ("dense",))
