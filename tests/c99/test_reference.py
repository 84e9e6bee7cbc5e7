"""The integer model is close to the float network, and its rules are those of the book."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import NETWORKS, images, integer

from sepnet.integer.reference import dequantize, quantize, run
from sepnet.runtimes.onnxruntime import OnnxRuntime


@pytest.mark.parametrize("name", NETWORKS)
def test_close_to_float(name: str) -> None:
    model = NETWORKS[name]()
    whole = integer(model)
    batch = images()
    wanted = OnnxRuntime(model, 1).run(batch)
    got = dequantize(whole.values[whole.output], run(whole, quantize(whole.values[whole.input], batch)))
    error = got.reshape(wanted.shape) - wanted
    assert np.sqrt(np.mean(error**2)) < 0.03 * wanted.std()
