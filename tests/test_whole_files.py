"""Files are there whole or not at all."""

from pathlib import Path

import pytest

from vmrtool.files import whole


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    for text in ("first", "second"):
        with whole(target) as place:
            place.write_text(text)
            assert place.parent == target.parent and place.name.startswith(".")
        assert target.read_text() == text
    assert list(target.parent.iterdir()) == [target]


def test_a_block_that_fails_changes_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt), whole(target) as place:
        place.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_program_left_is_taken_over(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.with_name(".file.txt.part").write_text("left by a killed program, and longer")
    with whole(target) as place:
        place.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert target.read_text() == "whole"
