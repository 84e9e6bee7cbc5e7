"""Published ImageNet weights in the catalogue's networks, scored on the sample of ImageNet.

    SEPNET_DATA=... python benchmarks/imagenet_weights.py DIR

Converts the files in $SEPNET_DATA/weights to float32 safetensors in DIR, with the catalogue's names, scores them on the
1,000 images of `imagenet_sample` (evidently training images: no validation accuracy), and writes results/imagenet_weights.json.
Each row holds the command that gives the same score: `sepnet evaluate NET --weights DIR/FILE --data DATA`.

- MobileNets of TensorFlow Lite, 8-bit weights: weight = (integer - zero point) * scale, bias = integer * scale * scale of the
  input; their batch norms are folded in, so those of the catalogue become the identity and the bias. Class 0 of 1,001, the
  background, is left out. `int8_activations` is the score when the outputs of all layers but the last are rounded to the
  256 levels that the file gives them, as its own integer arithmetic would.
- SqueezeNet 1.0 of Deep Compression, decoded: its first layer takes B, G, R, which is turned into R, G, B.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from machine import save
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from sepnet.core.score import Score
from sepnet.datasets import load
from sepnet.networks import build
from sepnet.networks.mobilenet_v2 import InvertedResidual
from sepnet.steps.evaluate_network import evaluate_network
from sepnet.training.weights import load_into, write_weights

MOBILENETS = (
    (
        "mobilenet_v1_0.25_128",
        "mobilenet_v1?padding=tf&width=0.25&image_size=128",
        "size=128&resize=146&normalize=tflite",
    ),
    (
        "mobilenet_v1_0.5_160",
        "mobilenet_v1?padding=tf&width=0.5&image_size=160",
        "size=160&resize=182&normalize=tflite",
    ),
    (
        "mobilenet_v1_0.75_192",
        "mobilenet_v1?padding=tf&width=0.75&image_size=192",
        "size=192&resize=219&normalize=tflite",
    ),
    ("mobilenet_v1_1.0_224", "mobilenet_v1?padding=tf", "normalize=tflite"),
    ("mobilenet_v2_1.0_224", "mobilenet_v2?padding=tf", "normalize=tflite"),
    ("mobilenet_v2_1.0_224_ptq", "mobilenet_v2?padding=tf", "normalize=half"),
)
"""Part of the file's name, network, and options of the data set."""
SQUEEZENET = "imagenet_squeezenet_v1.0_deepcompression.safetensors"


class Int8File:
    """A file of 8-bit layers in the order in which they run.

    Per layer `N.weight` (uint8 or int8, OIHW), `N.weight_scale` and `N.weight_zero_point` (one, or one a filter), and
    `N.bias` (int32); the metadata `layers` names them, with the scale and zero point of what goes in and comes out.
    """

    def __init__(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            listed = json.loads(file.metadata()["layers"])
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.layers = [layer for layer in listed if f"{layer.get('name')}.weight" in self.tensors]
        self.additions = [layer for layer in listed if layer.get("name") == "add"]
        signed = self.tensors[f"{self.layers[0]['name']}.weight"].dtype == torch.int8
        self.levels = (-128, 127) if signed else (0, 255)

    def floats(self, layer: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of a layer, float32."""
        codes, scale, zero, bias = (
            self.tensors[f"{layer['name']}.{part}"] for part in ("weight", "weight_scale", "weight_zero_point", "bias")
        )
        weight = (codes.float() - zero.view(-1, 1, 1, 1)) * scale.view(-1, 1, 1, 1)
        return weight, bias.double().mul(scale.double() * layer["in"]["scale"]).float()


def mobilenet_state(file: Int8File, model: nn.Module) -> dict[str, torch.Tensor]:
    """The file's floats under the names of `model`, whose layers run in the same order."""
    convs = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    (fc,) = (name for name, module in model.named_modules() if isinstance(module, nn.Linear))
    state: dict[str, torch.Tensor] = {}
    for conv, norm, layer in zip(convs, norms, file.layers[:-1], strict=True):
        state[f"{conv}.weight"], state[f"{norm}.bias"] = file.floats(layer)
        one = torch.ones_like(state[f"{norm}.bias"])
        eps = model.get_submodule(norm).eps
        state |= {f"{norm}.weight": one, f"{norm}.running_mean": 0 * one, f"{norm}.running_var": one - eps}
    weight, bias = file.floats(file.layers[-1])
    return state | {f"{fc}.weight": weight[1:, :, 0, 0], f"{fc}.bias": bias[1:]}


def round_activations(file: Int8File, model: nn.Module) -> None:
    """From now on every layer but the last gives one of the 256 numbers that its integers can stand for."""
    low, high = file.levels

    def rounds(out: dict[str, float]) -> Any:
        def hook(module: nn.Module, given: Any, found: torch.Tensor) -> torch.Tensor:
            codes = torch.clamp(torch.round(found / out["scale"]) + out["zero_point"], low, high)
            return (codes - out["zero_point"]) * out["scale"]

        return hook

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = [module for module in model.modules() if isinstance(module, InvertedResidual) and module.add]
    for modules, layers in ((norms, file.layers[:-1]), (sums, file.additions)):
        for module, layer in zip(modules, layers, strict=True):
            module.register_forward_hook(rounds(layer["out"]))


def squeezenet_state(path: Path) -> dict[str, torch.Tensor]:
    """Caffe's names to torchvision's, and B, G, R to R, G, B."""
    given = load_file(path)
    names = {"features.0": "conv1", "classifier.1": "conv_final"}
    for fire, place in zip(range(2, 10), (3, 4, 5, 7, 8, 9, 10, 12), strict=True):
        for ours, theirs in (("squeeze", "conv1x1_1"), ("expand1x1", "conv1x1_2"), ("expand3x3", "conv3x3_2")):
            names[f"features.{place}.{ours}"] = f"fire{fire}.{theirs}"
    state = {f"{a}.{part}": given[f"{b}.{part}"] for a, b in names.items() for part in ("weight", "bias")}
    state["features.0.weight"] = state["features.0.weight"].flip(1)
    return state


def row(net: str, file: Path, data: str, model: nn.Module, score: Score) -> dict[str, Any]:
    """A line of the result; `loss` in nats."""
    command = f"sepnet evaluate '{net}' --weights DIR/{file.name} --data '{data}'"
    print(f"{command}\n    top-1 {score.top1:.1%}, top-5 {score.top5:.1%}, loss {score.loss:.4f}", flush=True)
    params = sum(p.numel() for p in model.parameters())
    return {
        "command": command,
        "params": params,
        "n": score.n,
        "top1": score.top1,
        "top5": score.top5,
        "loss": score.loss,
    }


def main() -> None:
    """Convert and score every file."""
    folder, target = Path(os.environ["SEPNET_DATA"]) / "weights", Path(sys.argv[1])
    target.mkdir(exist_ok=True)
    result = []
    for name, net, options in MOBILENETS:
        given, model = Int8File(folder / f"imagenet_{name}_int8.safetensors"), build(net)
        data = f"imagenet_sample?{options}"
        file = target / f"{name}.safetensors"
        write_weights(file, {**model.state_dict(), **mobilenet_state(given, model)})
        load_into(model, file)
        images = load(data)
        line = row(net, file, data, model, evaluate_network(model, images))
        round_activations(given, model)
        rounded = evaluate_network(model, images)
        print(f"    with 8-bit activations top-1 {rounded.top1:.1%}, top-5 {rounded.top5:.1%}", flush=True)
        result.append({**line, "int8_activations": {"top1": rounded.top1, "top5": rounded.top5}})
    net, data = "squeezenet1_0?last_padding=1&image_size=227", "imagenet_sample?size=227&normalize=caffe"
    model, file = build(net), target / "squeezenet1_0_deep_compression.safetensors"
    write_weights(file, squeezenet_state(folder / SQUEEZENET))
    load_into(model, file)
    result.append(row(net, file, data, model, evaluate_network(model, load(data))))
    save("imagenet_weights", "SEPNET_DATA=... python benchmarks/imagenet_weights.py DIR", result)


if __name__ == "__main__":
    main()
