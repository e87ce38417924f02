"""A small rendered archive, indexed with the model `blocks`, shared by the whole-job tests."""

import pytest
from whole import Archive, make_archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Eight videos of a seed that no training has seen."""
    return make_archive(tmp_path_factory.mktemp("archive"), videos=8, seed=11)
