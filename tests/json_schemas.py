"""JSON documents against the schemas of the package, which tests take at their word."""

from typing import Any

from jsonschema import Draft202012Validator

from vmrtool.schemas import load_schema


def assert_valid(document: dict[str, Any]) -> dict[str, Any]:
    """The document, if it fits the schema that it names and has no field beside those."""
    schema = load_schema(document["schema"])
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(closed(schema)).validate(document)
    return document


def closed(schema: Any) -> Any:
    """The schema with every object's fields settled, where it does not say what others hold."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(part) for name, part in schema.items()}
    if "required" in schema:
        inner.setdefault("additionalProperties", False)
    return inner


def fields_of(name: str) -> set[str]:
    """The fields that a schema names, written as in docs/formats.md: `a`, `a.b`, `a[].b`."""
    found: set[str] = set()

    def walk(schema: Any, path: str) -> None:
        for field, part in schema.get("properties", {}).items():
            below = f"{path}.{field}".lstrip(".")
            found.add(below)
            walk(part, below)
        if "items" in schema:
            walk(schema["items"], f"{path}[]")
        # Fields named by figures stand as one.
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and path.endswith(("rows[]", "searches[]", ".blind")):
            found.add(f"{path}.FIGURE")
            walk(more, f"{path}.FIGURE")

    walk(load_schema(name), "")
    return found
