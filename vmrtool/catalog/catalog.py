"""The catalog as one object: open it, ask it, and commit videos whole or not at all."""

import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlite_utils import Database

from vmrtool.catalog import connection, relocation, schema, snippets, vectors, videos
from vmrtool.catalog.migration import migrate
from vmrtool.catalog.paths import from_key
from vmrtool.catalog.rows import (
    ExtractorRow,
    FailureRow,
    FileFacts,
    FoundFile,
    ListedWindows,
    Relocation,
    State,
    StoredEncoding,
    StoredSnippets,
    StoredWindow,
    VideoRow,
)
from vmrtool.errors import CatalogError


class Catalog:
    """An open catalog. Use `create_or_open` or `open`, as a context manager.

    Every write is one transaction. Several threads may use one catalog, and several programs one
    file: writers wait for each other.
    """

    def __init__(self, path: Path, db: Database, *, writable: bool) -> None:
        """Wraps an open database; `create_or_open` and `open` are the ways in."""
        self.path = path
        self.writable = writable
        self._db = db
        self._lock = threading.RLock()

    # Life -----------------------------------------------------------------------------------

    @classmethod
    def create_or_open(cls, path: Path | str) -> "Catalog":
        """Open the catalog at `path` for writing, made where there is none, migrated where old.

        Raises:
            CatalogError: it is not a catalog, a newer one, or cannot be written.
        """
        path = Path(path)
        db, _ = connection.connect(path, create=True, readonly=False)
        try:
            # The mark is looked at first: another program's database is not written to at all.
            if not connection.check_version(db, path):
                with connection.explained(path):
                    migrate(db, path)
            connection.choose_journal(db, path)
            catalog = cls(path, db, writable=True)
            catalog._assert_writable()
        except BaseException:
            db.close()
            raise
        return catalog

    @classmethod
    def open(cls, path: Path | str, *, readonly: bool = True) -> "Catalog":
        """Open a catalog that is there; an older one is migrated first.

        Where an older one cannot be written, and need not be, it is read as it is.

        Raises:
            CatalogError: there is none, it is not a catalog, or a newer one.
        """
        path = Path(path)
        db, writable = connection.connect(path, create=False, readonly=readonly)
        try:
            current = connection.check_version(db, path)
        except BaseException:
            db.close()
            raise
        if current:
            return cls(path, db, writable=writable)
        db.close()
        try:
            cls.create_or_open(path).close()
        except CatalogError:
            if not readonly or connection.can_be_written(path):
                raise
            return cls(
                path, connection.connect(path, create=False, readonly=True)[0], writable=False
            )
        return cls.open(path, readonly=readonly)

    def close(self) -> None:
        """Checkpoints the write-ahead log and closes the file."""
        with self._lock:
            if self.writable:
                with connection.explained(self.path):
                    connection.checkpoint(self._db)
            self._db.close()

    def __enter__(self) -> "Catalog":
        """Nothing to do: a catalog is open from the start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the catalog."""
        try:
            self.close()
        except CatalogError:
            # Say why the work ended, not that tidying up after it failed as well.
            if kind is None:
                raise

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """One transaction: all that happens inside is kept, or nothing is.

        IMMEDIATE, so that a writer waits for others at the start and never fails in the middle.

        Raises:
            CatalogError: the disk is full, the catalog is damaged or held by another program.
        """
        with self._lock, connection.explained(self.path):
            if self._db.conn.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.conn.execute("COMMIT")
            except BaseException:
                self._db.rollback()
                raise

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """The database for reading rows, which may hold anything: a catalog is only a file.

        Raises:
            CatalogError: it is damaged, or holds a value that cannot be.
        """
        with self._lock, connection.explained(self.path):
            try:
                yield self._db
            except (ValueError, TypeError, OverflowError) as error:
                raise connection.broken(self.path, str(error)) from error

    def _assert_writable(self) -> None:
        """Finds out before hours of work, not after, that nothing can be written."""
        with self.transaction():
            pass

    # Settings -------------------------------------------------------------------------------

    def setting(self, key: str) -> Any:
        """What the catalog remembers under `key`, a JSON value; None where nothing."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
            return None if row is None else json.loads(row[0])

    def remember(self, **values: Any) -> None:
        """Remembers JSON values by name; None forgets."""
        with self.transaction() as db:
            for key, value in values.items():
                if value is None:
                    db.execute("DELETE FROM settings WHERE key = ?", (key,))
                else:
                    db.table("settings").insert(
                        {"key": key, "value": json.dumps(value)}, replace=True
                    )

    @property
    def id(self) -> str:
        """A text that is this catalog's own, kept when its file moves."""
        return str(self.setting("catalog"))

    @property
    def model(self) -> str | None:
        """The grounding model in use, as `find_model` takes it; None where there is none."""
        ref = self.setting("model")
        return None if ref is None else str(ref)

    @model.setter
    def model(self, ref: str | None) -> None:
        self.remember(model=ref)

    # Extractors -----------------------------------------------------------------------------

    @property
    def schema_version(self) -> int:
        """The version of the catalog's tables."""
        with self.reading() as db:
            return schema.version(db)

    def extractor_id(self, backbone: str, weights_sha256: str, settings: Mapping[str, Any]) -> int:
        """The id of the extractor with exactly these settings, made where there is none."""
        key = (backbone, weights_sha256, _canonical(settings))
        with self.transaction() as db:
            db.execute(
                "INSERT INTO extractors (backbone, weights_sha256, settings) VALUES (?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                key,
            )
            row = db.execute(
                "SELECT id FROM extractors WHERE backbone = ? AND weights_sha256 = ? "
                "AND settings = ?",
                key,
            ).fetchone()
        return int(row[0])

    def extractors(self) -> list[ExtractorRow]:
        """All extractors that ever filled this catalog."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT id, backbone, weights_sha256, settings FROM extractors ORDER BY id"
            ).fetchall()
            return [ExtractorRow(row[0], row[1], row[2], dict(json.loads(row[3]))) for row in rows]

    @property
    def extractor(self) -> ExtractorRow | None:
        """The extractor in use: the one `index` last worked with."""
        wanted = self.setting("extractor")
        return next((row for row in self.extractors() if row.id == wanted), None)

    def use_extractor(self, extractor_id: int) -> None:
        """Puts an extractor in use; every video's state is then what is known under it."""
        with self.transaction() as db:
            self.remember(extractor=extractor_id)
            videos.refresh_states(db, extractor_id)

    # Videos ---------------------------------------------------------------------------------

    def videos(self, glob: str | None = None, state: State | None = None) -> list[VideoRow]:
        """The videos, in the order of their paths.

        Args:
            glob: only those whose path, path below their root, or name it fits.
            state: only those in this state, e.g. "indexed".
        """
        with self.reading() as db:
            rows = videos.select(db, *(("v.state = ?", (state,)) if state else ()))
        return [row for row in rows if glob is None or videos.matches(row, glob)]

    def roots(self) -> list[Path]:
        """The folders that videos were looked for in, in order."""
        with self.reading() as db:
            keys = db.execute("SELECT path_bytes FROM roots ORDER BY path_bytes").fetchall()
        return [from_key(key) for (key,) in keys]

    def video(self, path: Path | str) -> VideoRow | None:
        """The video whose file is `path`, or None."""
        with self.reading() as db:
            return videos.find(db, Path(path))

    def videos_with(self, content_hash: str) -> list[VideoRow]:
        """The videos that have this content: a file and its copies."""
        with self.reading() as db:
            return videos.with_content(db, content_hash)

    def save_video(
        self,
        file: FoundFile,
        content_hash: str,
        facts: FileFacts,
        extractor_id: int,
        stored: StoredSnippets | None,
    ) -> bool:
        """Commits a video as indexed: its row and its features, whole or not at all.

        `stored` is None where features of this content by this extractor are here already: for a
        copy, a rename, a file that was only touched. Returns whether a missing video moved here.

        Raises:
            CatalogError: it cannot be written; nothing of this video is then kept.
            ValueError: the arrays do not fit together, or there are no features.
        """
        with self.transaction() as db:
            if stored is not None:
                snippets.write(db, content_hash, extractor_id, stored)
            elif not snippets.stored(db, content_hash, extractor_id):
                raise ValueError(f"no features of {file.path} by extractor {extractor_id}")
            video_id, moved = videos.place(db, file, content_hash, facts, "indexed")
            # What failed under other settings is another file's story once the content differs.
            db.table("failures").delete_where(
                "video_id = ? AND extractor_id = ?", (video_id, extractor_id)
            )
        return moved

    def set_failure(
        self,
        file: FoundFile,
        content_hash: str | None,
        facts: FileFacts,
        extractor_id: int,
        *,
        stage: str,
        error: str,
        remedy: str | None = None,
    ) -> FailureRow:
        """Commits a video as failed. Attempts count on while the file stays the same."""
        with self.transaction() as db:
            known = videos.find(db, file.path)
            attempts = 1
            if known is not None and (known.size, known.mtime_ns) == (file.size, file.mtime_ns):
                attempts += videos.attempts(db, known.id, extractor_id)
            failure = FailureRow(file.path, stage, error, remedy, attempts, videos.now())
            video_id, _ = videos.place(db, file, content_hash, facts, "failed")
            videos.fail(db, video_id, extractor_id, failure)
        return failure

    def failures(self) -> list[FailureRow]:
        """The standing failures under the extractor in use, in the order of their paths."""
        extractor = self.extractor
        if extractor is None:
            return []
        with self.reading() as db:
            return [failure for _, failure in videos.failures(db, extractor.id)]

    def mark_missing(self, gone: Sequence[VideoRow]) -> None:
        """Marks videos whose files are gone; those without any features are forgotten."""
        with self.transaction() as db:
            videos.mark_missing(db, [row.id for row in gone])

    def collect_garbage(self) -> int:
        """Removes the features of contents that no video has any more; returns how many."""
        with self.transaction() as db:
            return videos.collect_garbage(db)

    def relocate(self, old: Path | str, new: Path | str) -> Relocation:
        """Tells the catalog that what lay below the folder `old` now lies below `new`."""
        with self.transaction() as db:
            return relocation.relocate(db, Path(old), Path(new))

    # Features and vectors -------------------------------------------------------------------

    def features(
        self, content_hash: str, extractor: int, first: int = 0, n: int | None = None
    ) -> StoredSnippets | None:
        """Snippets [first, first + n) of a content, all without `n`; None where none are stored."""
        with self.reading() as db:
            return snippets.read(db, content_hash, extractor, first, n)

    def has_features(self, content_hash: str, extractor: int) -> bool:
        """Whether features of this content by this extractor are stored."""
        with self.reading() as db:
            return snippets.stored(db, content_hash, extractor)

    def snippet_count(self, content_hash: str, extractor: int) -> int:
        """How many snippets of this content by this extractor are stored."""
        with self.reading() as db:
            return snippets.count(db, content_hash, extractor)

    def all_snippets(self, extractor: int) -> int:
        """How many snippets by this extractor are stored, over all contents."""
        with self.reading() as db:
            return snippets.count_all(db, extractor)

    def save_vectors(self, model: str, extractor: int, windows: Sequence[StoredWindow]) -> None:
        """Stores the windows of one or more contents with what belongs to them.

        `model` is the grounding model's own key, its checkpoint's sha256.
        """
        with self.transaction() as db:
            vectors.write(db, model, extractor, windows)

    def load_vectors(
        self, model: str, extractor: int, contents: Collection[str] | None = None
    ) -> list[StoredWindow]:
        """All windows of a model, or of some contents, in the order of content hash and time."""
        with self.reading() as db:
            return list(vectors.read(db, model, extractor, contents))

    def list_windows(self, model: str, extractor: int) -> dict[str, ListedWindows]:
        """All windows of a model without their vectors, by content hash, in its order."""
        with self.reading() as db:
            return vectors.listing(db, model, extractor)

    def without_vectors(
        self, model: str, extractor: int, *, with_encodings: bool = False
    ) -> list[str]:
        """Content hashes that have features by this extractor but no windows of this model.

        with_encodings: or windows without their encodings.
        """
        with self.reading() as db:
            return vectors.missing(db, model, extractor, with_encodings=with_encodings)

    def encoding(
        self, model: str, extractor: int, content_hash: str, first: int
    ) -> StoredEncoding | None:
        """What is kept of the window that starts at snippet `first`; None where nothing is."""
        with self.reading() as db:
            return vectors.read_encoding(db, model, extractor, content_hash, first)

    def drop_encodings(self) -> None:
        """Forgets the encodings of all models; their vectors stay."""
        with self.transaction() as db:
            vectors.drop_encodings(db)

    def vectors_stamp(self, model: str, extractor: int) -> str:
        """A text that differs whenever the windows of this model in this catalog have changed."""
        with self.reading() as db:
            return f"{self.id}-{vectors.stamp(db, model, extractor)}"


def _canonical(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), sort_keys=True, separators=(",", ":"))
