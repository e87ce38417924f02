"""JSON Schemas (draft 2020-12) of the objects that vmrtool prints and writes, a file each.

`vmrtool.search/1` is `search-1.json`. Fields are only ever added under a name, so the schemas
allow further ones.
"""

import json
from importlib.resources import files
from typing import Any


def load_schema(name: str) -> dict[str, Any]:
    """The schema of the objects whose field `schema` is `name`, e.g. "vmrtool.search/1".

    Raises:
        FileNotFoundError: there is none of that name.
    """
    file = name.removeprefix("vmrtool.").replace("/", "-") + ".json"
    schema: dict[str, Any] = json.loads(files(__name__).joinpath(file).read_text("utf-8"))
    return schema
