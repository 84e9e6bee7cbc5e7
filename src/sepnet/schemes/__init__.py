"""Schemes: a float weight to integer codes and back.  One line a variant."""

from sepnet.core.registry import Shelf
from sepnet.core.scheme import Scheme

__all__ = ["SCHEMES"]

SCHEMES: Shelf[type[Scheme]] = Shelf(
    "scheme",
    {
        "keep": "sepnet.schemes.keep:Keep",
        "prune": "sepnet.schemes.prune:Prune",
        "linear": "sepnet.schemes.linear:Linear",
        "rate": "sepnet.schemes.rate:Rate",
        "share": "sepnet.schemes.share:Share",
        "pattern": "sepnet.schemes.pattern:Pattern",
    },
)
