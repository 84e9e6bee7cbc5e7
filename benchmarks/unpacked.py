"""The weights of a packed file, made ready for more training."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

import sepnet as package
from sepnet.core.dataset import Split
from sepnet.datasets import load
from sepnet.networks import build
from sepnet.training.batches import eval_batches


def unpacked(net: str, table: str, packed: Path, path: Path) -> None:
    """Write to `path` the weights of a packed file, made ready for training: the same outputs, but norms that do what norms do.

    Folded batch normalizations come back as the identity.  Training normalizes by the batch, so each gets the mean and
    the deviation of what it sees in 1,000 training images of the table's data, and the scale and shift that undo them.
    """
    data = load(table, Path(os.environ["SEPNET_DATA"]))
    model = build(net).eval()
    state = package.read(packed).state_dict()
    model.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    seen: list[list[torch.Tensor]] = [[] for _ in norms]
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, seen=each: seen.append(given[0].transpose(0, 1).flatten(1)))
        for norm, each in zip(norms, seen, strict=True)
    ]
    with torch.no_grad():
        model(next(eval_batches(data, Split(data.train.images[:1000], data.train.labels[:1000]), 1000))[0])
        for norm, each in zip(norms, seen, strict=True):
            variance, mean = torch.var_mean(torch.cat(each, 1), 1, correction=0)
            slope = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            norm.bias += slope * (mean - norm.running_mean)
            norm.weight.copy_(slope * torch.sqrt(variance + norm.eps))
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
    for hook in hooks:
        hook.remove()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)
