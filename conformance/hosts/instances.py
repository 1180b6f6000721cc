"""The smallest value that a JSON schema accepts, for the few keywords that callers' schemas use.

Its JavaScript twin is `instances.mjs`.
"""

from __future__ import annotations

DEEPEST = 12


def smallest(schema: object, root: object = None, depth: int = 0) -> object:
    """An instance with the required properties only; a schema of another shape than expected yields an object."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return {}
    root = schema if root is None else root
    if isinstance(schema.get("$ref"), str):
        return smallest(_at(root, schema["$ref"]), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return smallest(schema[several][0], root, depth + 1)
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "string":
            return "scripted".ljust(schema.get("minLength", 0), ".")
        case "integer" | "number":
            return schema.get("minimum", 7)
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            return [smallest(schema.get("items", {}), root, depth + 1)] * schema.get("minItems", 1)
        case _:
            properties = schema.get("properties")
            properties = properties if isinstance(properties, dict) else {}
            return {name: smallest(properties.get(name, {"type": "string"}), root, depth + 1)
                    for name in schema.get("required", [])}


def _at(root: object, reference: str) -> object:
    """What a reference inside the same schema points to; nothing else is followed."""
    for part in reference.removeprefix("#").strip("/").split("/"):
        root = root.get(part, {}) if isinstance(root, dict) else {}
    return root
