"""One host at a time fills a catalog that lies on another machine's disk."""

from collections.abc import Iterator
from contextlib import contextmanager

from vmrtool.catalog import Catalog
from vmrtool.catalog.network import host, network_type
from vmrtool.errors import CatalogError


@contextmanager
def only_host(catalog: Catalog, *, force: bool = False) -> Iterator[None]:
    """Notes in the catalog that this host fills it, for the length of a block.

    On a disk of this machine there is nothing to do: other hosts do not see it. A host that was cut
    off leaves its note, which only itself and `force` go past.

    Raises:
        CatalogError: another host is at it.
    """
    kind = network_type(catalog.path)
    if kind is None:
        yield
        return
    with catalog.transaction():
        standing = catalog.setting("writer")
        if standing not in (None, host()) and not force:
            raise CatalogError(
                f"{catalog.path}: lies on a network disk ({kind}), and the host {standing} writes "
                "to it, or was cut off while it did",
                remedy=f"index on {standing}; or, where no index runs there any more: --force",
            )
        catalog.remember(writer=host())
    try:
        yield
    finally:
        catalog.remember(writer=None)
