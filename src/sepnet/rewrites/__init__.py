"""Rewrites: trained layers to another form of them, their weights carried over.  One line a variant."""

from sepnet.core.registry import Shelf
from sepnet.core.rewrite import Rewrite

__all__ = ["REWRITES"]

REWRITES: Shelf[type[Rewrite]] = Shelf(
    "rewrite",
    {
        "group": "sepnet.rewrites.group:Group",
        "depthwise_separable": "sepnet.rewrites.depthwise_separable:DepthwiseSeparable",
        "low_rank": "sepnet.rewrites.low_rank:LowRank",
        "pattern_residual": "sepnet.rewrites.pattern_residual:PatternResidual",
        "channels": "sepnet.rewrites.channels:Channels",
        "global_pool": "sepnet.rewrites.global_pool:GlobalPool",
    },
)
