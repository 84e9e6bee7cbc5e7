"""What this machine makes of the training options that are left to it: precision, memory format, threads."""

from __future__ import annotations

import copy
import functools
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import NetworkError, brief
from sepnet.core.train_options import TrainOptions
from sepnet.core.train_setup import TrainSetup

__all__ = ["find_setup", "refusal_of_channels_last"]

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Instructions that multiply and add bfloat16, as torch and Linux call them: of x86, then of Arm."""
SLOWER = 1.5
"""A convolution that takes so many times as long in bfloat16 shows that torch does not use those instructions."""


def find_setup(
    options: TrainOptions, device: torch.device, model: nn.Module, input_shape: tuple[int, ...]
) -> TrainSetup:
    """How a stage is computed on this machine; what the options do not leave to it is done as they say.

    bfloat16 is taken where the device has it.  Channels last are taken on processors, which compute faster so, and on
    GPUs in bfloat16, if the network takes them.  "auto" does not compile: it takes a minute, and gains little where channels are last.

    Raises `NetworkError` if the options say channels last, and the network does not take them.
    """
    lack = lack_of_bfloat16(device)
    precision, why = options.precision, "as asked"
    if precision == "auto":
        precision, why = ("float32", lack) if lack else ("bfloat16", f"{_noun(device)} has it")
    elif precision == "bfloat16" and lack:
        why = f"as asked, but {lack}: a step may take ten times as long as with precision = auto"
    last = options.channels_last
    if last == "auto":
        last = device.type == "cpu" or (device.type == "cuda" and precision == "bfloat16")
    if last and (reason := refusal_of_channels_last(model, input_shape)):
        if options.channels_last != "auto":
            raise NetworkError(f"channels_last = true: the network does not take it: {reason}; expected false or auto")
        last = False
    return TrainSetup(str(device), precision, why, last, options.compiled is True, torch.get_num_threads())


def lack_of_bfloat16(device: torch.device) -> str:
    """Why bfloat16 makes nothing faster on a device; "" where it does."""
    if device.type == "cuda":
        return "" if _gpu_has_bfloat16(device) else "this GPU has no bfloat16 arithmetic"
    if device.type != "cpu":
        return f"bfloat16 was not tried on {device.type}"
    flags = processor_flags()
    if flags is None:
        return "whether this processor has bfloat16 instructions is not known"
    if not any(flags.get(name) for name in BFLOAT16_FLAGS):
        return "this processor has no bfloat16 instructions"
    return "bfloat16 is slower here, though this processor has it" if bfloat16_time() > SLOWER else ""


def _noun(device: torch.device) -> str:
    return "this processor" if device.type == "cpu" else "this GPU"


def _gpu_has_bfloat16(device: torch.device) -> bool:
    """From compute capability 8 on; below, torch computes it by way of float32."""
    new = torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= 8
    return new and bool(torch.cuda.is_bf16_supported())


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> Mapping[str, Any] | None:
    """What the processor can do, by name: as torch says, or Linux where torch does not; None where neither does."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is not None:
        return dict(ask())
    try:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(), re.M)
    except OSError:
        return None
    return None if found is None else dict.fromkeys(found[1].split(), True)


@functools.cache
def bfloat16_time() -> float:
    """Time of a convolution's training step in bfloat16, over that in float32: the least of three each, in turns.

    The flags alone can mislead: a torch without kernels for them computes bfloat16 ten times slower than float32.  The
    limit is far from both, so that noise does not decide.
    """
    images = torch.ones(8, 32, 16, 16).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(32, 32, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    least = {True: float("inf"), False: float("inf")}
    for enabled in (True, False) * 4:  # the first of each, which prepares kernels, is hardly the least
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = nn.functional.conv2d(images, weight, padding=1)
        out.float().sum().backward()  # type: ignore[no-untyped-call]
        least[enabled] = min(least[enabled], time.perf_counter() - started)
    return least[True] / least[False]


def refusal_of_channels_last(model: nn.Module, input_shape: tuple[int, ...]) -> str:
    """Why a network does not train with channels last in memory: what `view` says, for one; "" where it does."""
    with torch.random.fork_rng([]):
        try:
            trial = copy.deepcopy(model).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            outputs = trial(torch.zeros(2, *input_shape).to(memory_format=torch.channels_last))
            if outputs.requires_grad:
                outputs.sum().backward()
        except Exception as error:  # whatever the user's forward raises
            return brief(error) or type(error).__name__
    return ""
