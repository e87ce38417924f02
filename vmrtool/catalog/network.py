"""Catalogs on disks of other machines: which they are, and that one host writes at a time.

SQLite's write-ahead log needs memory that all writers share, which two hosts do not have, and many
network file systems keep locks badly. There a catalog has a rollback journal instead of a log, and
the host that fills it is noted in it.
"""

import os
import re
import socket
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
# fmt: off
_NETWORK = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "orangefs", "smb3", "smbfs", "virtiofs",
})
# fmt: on


def network_type(path: Path) -> str | None:
    """The type of the network file system that holds `path`, e.g. "nfs4"; None where it is none.

    Taken from Linux's table of mounts; other systems say nothing here.
    """
    try:
        table = os.fsdecode(_MOUNTS.read_bytes())
    except OSError:
        return None
    place = os.path.realpath(path.parent)
    best, kind = "", None
    for line in table.splitlines():
        fields, _, rest = line.partition(" - ")
        mount = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields.split()[4])
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, rest.split()[0]
    return kind if kind in _NETWORK else None


def host() -> str:
    """This machine's name."""
    return socket.gethostname()
