"""What a download tells whoever waits for it."""


class Progress:
    """Told what happens while an asset is fetched; this one keeps it to itself."""

    def note(self, text: str) -> None:
        """A line for the user: where a file comes from, that another process is at it."""

    def at(self, file: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of `file` are here; `total` is None where it is not known."""


SILENT = Progress()
