"""The catalog: one SQLite file that holds an archive's videos, features and failures."""

from vmrtool.catalog.catalog import Catalog

__all__ = ["Catalog"]
