"""Find moments in a video archive from a sentence.

    import vmrtool

    vmrtool.index("videos", backbone="i3d")
    with vmrtool.open("vmrtool.db") as archive:
        for moment in archive.search("person pours ingredients").moments:
            print(moment.video, moment.start, moment.end, moment.score)

Importing this package imports nothing heavy; torch, FAISS and SQLite come with the first use.
"""

from typing import TYPE_CHECKING, Any

from vmrtool.errors import VmrtoolError

if TYPE_CHECKING:
    from vmrtool.api import index, load_model
    from vmrtool.features.backbones import load_backbone
    from vmrtool.grounding.checkpoint import GroundingModel
    from vmrtool.indexing.report import IndexReport
    from vmrtool.search.engine import Searcher
    from vmrtool.search.grounding import ground
    from vmrtool.search.result import Moment, SearchResult
    from vmrtool.search.shards import ShardedSearcher
    from vmrtool.search.shards import open_archive as open

__version__ = "0.1.0"

__all__ = [
    "GroundingModel",
    "IndexReport",
    "Moment",
    "SearchResult",
    "Searcher",
    "ShardedSearcher",
    "VmrtoolError",
    "__version__",
    "ground",
    "index",
    "load_backbone",
    "load_model",
    "open",
]

_HOMES = {
    "GroundingModel": ("vmrtool.grounding.checkpoint", "GroundingModel"),
    "IndexReport": ("vmrtool.indexing.report", "IndexReport"),
    "Moment": ("vmrtool.search.result", "Moment"),
    "SearchResult": ("vmrtool.search.result", "SearchResult"),
    "Searcher": ("vmrtool.search.engine", "Searcher"),
    "ShardedSearcher": ("vmrtool.search.shards", "ShardedSearcher"),
    "ground": ("vmrtool.search.grounding", "ground"),
    "index": ("vmrtool.api", "index"),
    "load_backbone": ("vmrtool.features.backbones", "load_backbone"),
    "load_model": ("vmrtool.api", "load_model"),
    "open": ("vmrtool.search.shards", "open_archive"),
}


def __getattr__(name: str) -> Any:
    """Imports a public name from the module it lives in when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vmrtool' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
