"""Attributes that only repeat the operator's default."""

from __future__ import annotations

from sepnet.packing.passes.draft import Draft, count

__all__ = ["drop_defaults"]


def drop_defaults(draft: Draft) -> str:
    """Drop the attributes that only repeat the operator's default."""
    import onnx

    dropped = 0
    opset = next(entry.version for entry in draft.proto.opset_import if not entry.domain)
    for node in draft.proto.graph.node:
        known = onnx.defs.get_schema(node.op_type, opset).attributes
        for attribute in list(node.attribute):
            default = known[attribute.name].default_value if attribute.name in known else None
            value = onnx.helper.get_attribute_value(attribute)
            same = default is not None and default.type and value == onnx.helper.get_attribute_value(default)
            if (
                same
                or (attribute.name == "dilations" and set(value) == {1})
                or (attribute.name == "kernel_shape" and node.op_type == "Conv")
            ):
                node.attribute.remove(attribute)
                dropped += 1
    return count((dropped, "attributes dropped"))
