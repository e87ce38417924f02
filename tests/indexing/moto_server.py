"""S3 on this machine, as moto serves it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vmrtool.media import stores

WHY = "{} is not installed: pip install 'vmrtool[remote]' 'moto[server,s3]'"


@contextmanager
def s3_served() -> Iterator[Any]:
    """A client of an S3 that this process, and those it starts, take for the real one."""
    pytest.importorskip("s3fs", reason=WHY.format("s3fs"))
    moto = pytest.importorskip("moto.server", reason=WHY.format("moto"))
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key-of-nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-nobody")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        stores._of_scheme.cache_clear()
        yield pytest.importorskip("boto3").client("s3")
        stores._of_scheme.cache_clear()
    server.stop()
