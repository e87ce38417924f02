"""Arrays of HDF5 files made by others: what lies in the file itself, and fits into memory.

An HDF5 file can point to any other file: by a link, by a dataset stored elsewhere, by a view of
other files' datasets. Followed, such a pointer would read what the user never named.
"""

from typing import Any

import h5py

MAX_BYTES = 1 << 32
_MAX_LINKS = 16


def item_of(group: h5py.Group, name: str, *, links: int = _MAX_LINKS) -> Any:
    """The dataset or group `name` below a group; None where there is none.

    Raises:
        ValueError: it lies in another file, is reached by links without end, or is an array of
            more than `MAX_BYTES`.
    """
    item: Any = group.file if name.startswith("/") else group
    for part in filter(None, name.split("/")):
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(f"{name!r} is a link to another file, {link.filename!r}")
        if isinstance(link, h5py.SoftLink):
            if not links:
                raise ValueError(f"{name!r} is a link that leads nowhere")
            item = item_of(item, link.path, links=links - 1)
        else:
            item = None if link is None else item.get(part)
    if isinstance(item, h5py.Dataset):
        if item.external or item.is_virtual:
            raise ValueError(f"the array {name!r} lies in another file")
        if item.size is not None and item.size * item.dtype.itemsize > MAX_BYTES:
            raise ValueError(f"the array {name!r} claims {item.shape} values: too large to be true")
    return item
