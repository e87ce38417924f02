"""The catalog's tables, and how an older catalog becomes a newer one.

`PRAGMA user_version` holds the schema version, `PRAGMA application_id` marks the file as a vmrtool
catalog. Each migration raises the version by one, inside one transaction.
"""

from sqlite_utils import Database, Migrations

from vmrtool.catalog import digests

APPLICATION_ID = 0x564D5254  # "VMRT"
SCHEMA_VERSION = 4
DIGESTS = 3  # the version from which on rows with blobs have digests
ENCODINGS = 4  # the version from which on windows may be kept encoded

migrations = Migrations("vmrtool")

_TABLES = (
    # What the catalog remembers: its own id, the model, the extractor in use. Values are JSON.
    """CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    )""",
    """CREATE TABLE roots (
        id INTEGER PRIMARY KEY,
        path_bytes BLOB NOT NULL UNIQUE,
        path TEXT NOT NULL
    )""",
    """CREATE TABLE extractors (
        id INTEGER PRIMARY KEY,
        backbone TEXT NOT NULL,
        weights_sha256 TEXT NOT NULL,
        settings TEXT NOT NULL,
        UNIQUE (backbone, weights_sha256, settings)
    )""",
    """CREATE TABLE videos (
        id INTEGER PRIMARY KEY,
        root_id INTEGER NOT NULL REFERENCES roots (id),
        path_bytes BLOB NOT NULL,
        path TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        content_hash TEXT,
        duration_s REAL,
        width INTEGER,
        height INTEGER,
        rotation INTEGER,
        fps REAL,
        codec TEXT,
        container TEXT,
        truncated TEXT,
        state TEXT NOT NULL CHECK (state IN ('indexed', 'failed', 'pending', 'missing')),
        UNIQUE (root_id, path_bytes)
    )""",
    "CREATE INDEX idx_videos_content_hash ON videos (content_hash)",
    """CREATE TABLE features (
        content_hash TEXT NOT NULL,
        extractor_id INTEGER NOT NULL REFERENCES extractors (id) ON DELETE CASCADE,
        chunk INTEGER NOT NULL,
        n INTEGER NOT NULL,
        dim INTEGER NOT NULL,
        data BLOB NOT NULL,
        seen BLOB NOT NULL,
        cells BLOB NOT NULL,
        PRIMARY KEY (content_hash, extractor_id, chunk)
    )""",
    # AUTOINCREMENT: an id is never used twice, so (count, max id) tells whether windows changed.
    """CREATE TABLE windows (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        extractor_id INTEGER NOT NULL REFERENCES extractors (id) ON DELETE CASCADE,
        content_hash TEXT NOT NULL,
        first INTEGER NOT NULL,
        n INTEGER NOT NULL,
        UNIQUE (model, extractor_id, content_hash, first)
    )""",
    "CREATE INDEX idx_windows_content_hash ON windows (content_hash)",
    """CREATE TABLE vectors (
        window_id INTEGER PRIMARY KEY REFERENCES windows (id) ON DELETE CASCADE,
        n INTEGER NOT NULL,
        dim INTEGER NOT NULL,
        data BLOB NOT NULL,
        spans BLOB NOT NULL
    )""",
    """CREATE TABLE failures (
        video_id INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
        extractor_id INTEGER NOT NULL REFERENCES extractors (id) ON DELETE CASCADE,
        path TEXT NOT NULL,
        stage TEXT NOT NULL,
        error TEXT NOT NULL,
        remedy TEXT,
        attempts INTEGER NOT NULL,
        "when" TEXT NOT NULL,
        PRIMARY KEY (video_id, extractor_id)
    )""",
)


@migrations()
def m001_tables(db: Database) -> None:
    """The first schema."""
    for statement in _TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")


# For people with a SQLite tool: names and words in place of keys and bytes.
_VIEWS = (
    """CREATE VIEW video_list AS
    SELECT
        v.id,
        rtrim(r.path, '/') || '/' || v.path AS path,
        v.state,
        CASE v.state
            WHEN 'indexed' THEN 'can be searched'
            WHEN 'failed' THEN 'failed: ' || coalesce(f.error, '')
            WHEN 'pending' THEN 'has features of other settings only'
            ELSE 'its file is gone'
        END AS meaning,
        round(v.duration_s, 1) AS seconds,
        round(v.size / 1e6, 1) AS megabytes,
        datetime(v.mtime_ns / 1000000000, 'unixepoch') AS changed_utc,
        v.width || 'x' || v.height AS pixels,
        v.fps,
        v.codec,
        (SELECT coalesce(sum(n), 0) FROM features
            WHERE content_hash = v.content_hash AND extractor_id = in_use.id) AS snippets,
        v.truncated,
        v.content_hash
    FROM videos AS v
    JOIN roots AS r ON r.id = v.root_id
    LEFT JOIN extractors AS in_use
        ON in_use.id = (SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'extractor')
    LEFT JOIN failures AS f ON f.video_id = v.id AND f.extractor_id = in_use.id""",
    """CREATE VIEW failure_list AS
    SELECT f.path, f.stage, f.error, f.remedy, f.attempts, f."when" AS last_tried, e.backbone,
        v.state
    FROM failures AS f
    JOIN videos AS v ON v.id = f.video_id
    JOIN extractors AS e ON e.id = f.extractor_id""",
    """CREATE VIEW storage_by_table AS
    SELECT 'features' AS name, count(*) AS row_count,
        coalesce(sum(length(data) + length(seen) + length(cells)), 0) AS bytes FROM features
    UNION ALL
    SELECT 'vectors', count(*), coalesce(sum(length(data) + length(spans)), 0) FROM vectors
    UNION ALL
    SELECT 'videos', count(*), coalesce(sum(length(path_bytes) + length(path)), 0) FROM videos
    UNION ALL
    SELECT 'failures', count(*),
        coalesce(sum(length(path) + length(error) + length(coalesce(remedy, ''))), 0)
    FROM failures""",
)


@migrations()
def m002_views(db: Database) -> None:
    """Views that read well in any SQLite tool."""
    for statement in _VIEWS:
        db.execute(statement)
    db.execute("PRAGMA user_version = 2")


@migrations()
def m003_digests(db: Database) -> None:
    """A digest for every row with blobs; what is stored already is taken to be right."""
    db.conn.create_function("digest", -1, digests.of_stored, deterministic=True)
    for table in ("features", "vectors"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN digest BLOB")
    db.execute(
        f"UPDATE features SET digest = digest(CAST({digests.FEATURES_HEAD} AS BLOB), "
        "data, seen, cells)"
    )
    db.execute(
        "UPDATE vectors AS v SET digest = (SELECT "
        f"digest(CAST({digests.VECTORS_HEAD} AS BLOB), v.data, v.spans) "
        "FROM windows AS w WHERE w.id = v.window_id)"
    )
    db.execute("PRAGMA user_version = 3")


_ENCODINGS = (
    """CREATE TABLE encodings (
        window_id INTEGER PRIMARY KEY REFERENCES windows (id) ON DELETE CASCADE,
        n INTEGER NOT NULL,
        dim INTEGER NOT NULL,
        data BLOB NOT NULL,
        cells BLOB NOT NULL,
        digest BLOB NOT NULL
    )""",
    "DROP VIEW storage_by_table",
    """CREATE VIEW storage_by_table AS
    SELECT 'features' AS name, count(*) AS row_count,
        coalesce(sum(length(data) + length(seen) + length(cells)), 0) AS bytes FROM features
    UNION ALL
    SELECT 'vectors', count(*), coalesce(sum(length(data) + length(spans)), 0) FROM vectors
    UNION ALL
    SELECT 'encodings', count(*), coalesce(sum(length(data) + length(cells)), 0) FROM encodings
    UNION ALL
    SELECT 'videos', count(*), coalesce(sum(length(path_bytes) + length(path)), 0) FROM videos
    UNION ALL
    SELECT 'failures', count(*),
        coalesce(sum(length(path) + length(error) + length(coalesce(remedy, ''))), 0)
    FROM failures""",
)


@migrations()
def m004_encodings(db: Database) -> None:
    """What a grounding network makes of a window before it is asked anything."""
    for statement in _ENCODINGS:
        db.execute(statement)
    db.execute("PRAGMA user_version = 4")


def version(db: Database) -> int:
    """The schema version of an open catalog; 0 for an empty file."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def application_id(db: Database) -> int:
    """The mark of the program an SQLite file belongs to; 0 where it bears none."""
    return int(db.execute("PRAGMA application_id").fetchone()[0])
