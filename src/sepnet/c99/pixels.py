"""From pixels to the numbers that a generated program takes."""

from __future__ import annotations

import numpy as np

from sepnet.core.dataset import normalize
from sepnet.core.header import InputSpec
from sepnet.integer.reference import quantize
from sepnet.integer.value import Value

__all__ = ["pixel_header"]


def pixel_header(template: str, about: InputSpec | None, source: Value) -> str:
    """model_pixels.h: for each channel the q of the pixels 0 to 255, normalized as the packed file says.

    Without a normalization, or where each pixel is its own q, there is no table.

    >>> spec = InputSpec((1, 1, 1), (0.5,), (0.25,))
    >>> "{0, 0, 0, 1, 1, 2," in pixel_header("@SAYS@ @DEFINED@", spec, Value("x", (1, 1, 1), 4 / 127.5, 63))
    True
    >>> pixel_header("@SAYS@ @DEFINED@", None, Value("x", (1, 1, 1), 1.0, 0))
    'how pixels become numbers is not known; these are numbers q #define MODEL_Q(channel, pixel) (pixel)'
    """
    says, defined = (
        "how pixels become numbers is not known; these are numbers q",
        "#define MODEL_Q(channel, pixel) (pixel)",
    )
    if about is not None and about.mean:
        says = f"q stands for (pixel / 255 - mean) / std, mean {list(about.mean)}, std {list(about.std)}"
        every = np.arange(256, dtype=np.uint8)[:, None, None, None].repeat(source.shape[0], axis=1)
        table = quantize(source, normalize(every, about.mean, about.std))[:, :, 0, 0].T
        if np.all(table == np.arange(256)):
            says += ", which is the pixel itself"
        else:
            rows = ",\n".join("    {" + ", ".join(map(str, row)) + "}" for row in table.tolist())
            defined = (
                f"static const uint8_t model_pixels[{len(table)}][256] = {{\n{rows}}};\n\n"
                "#define MODEL_Q(channel, pixel) model_pixels[channel][pixel]"
            )
    return template.replace("@SAYS@", says).replace("@DEFINED@", defined)
