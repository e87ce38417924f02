PRAGMA application_id = 1447907924;
PRAGMA user_version = 3;
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'vmrtool','m001_tables','2026-11-24 20:30:33.956599+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'vmrtool','m002_views','2026-11-24 20:30:33.957365+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'vmrtool','m003_digests','2026-11-24 20:30:33.966853+00:00');
CREATE TABLE extractors (
        id INTEGER PRIMARY KEY,
        backbone TEXT NOT NULL,
        weights_sha256 TEXT NOT NULL,
        settings TEXT NOT NULL,
        UNIQUE (backbone, weights_sha256, settings)
    );
INSERT INTO "extractors" VALUES(1,'stand-in','5555555555555555555555555555555555555555555555555555555555555555','{"fps":24,"stride":16}');
CREATE TABLE failures (
        video_id INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
        extractor_id INTEGER NOT NULL REFERENCES extractors (id) ON DELETE CASCADE,
        path TEXT NOT NULL,
        stage TEXT NOT NULL,
        error TEXT NOT NULL,
        remedy TEXT,
        attempts INTEGER NOT NULL,
        "when" TEXT NOT NULL,
        PRIMARY KEY (video_id, extractor_id)
    );
INSERT INTO "failures" VALUES(4,1,'/archive/broken.mp4','open','the file is empty','Copy it again.',1,'2026-11-24T20:30:34+00:00');
CREATE TABLE features (
        content_hash TEXT NOT NULL,
        extractor_id INTEGER NOT NULL REFERENCES extractors (id) ON DELETE CASCADE,
        chunk INTEGER NOT NULL,
        n INTEGER NOT NULL,
        dim INTEGER NOT NULL,
        data BLOB NOT NULL,
        seen BLOB NOT NULL,
        cells BLOB NOT NULL, digest BLOB,
        PRIMARY KEY (content_hash, extractor_id, chunk)
    );
INSERT INTO "features" VALUES('0000000000000000000000000000000000000000000000000000000000000005',1,0,5,7,X'6ABA4CBDF3B3BA368B3C052F6CB847BAFD398A3E5D34EFBCABBB663E7E32EEBE5BADA7BC09B9CFB7B5B96D380AACB7B88E36A43A92BE1CB4D9BB8AB128BD4C25D9A8DFB431BC',X'0000000000000000000000000000E03F000000000000E03F000000000000F03F000000000000F03F000000000000F83F000000000000F83F000000000000004000000000000000400000000000000440',X'0000000000000000000000000000E03F000000000000E03F000000000000F03F000000000000F03F000000000000F83F000000000000F83F000000000000004000000000000000400000000000000440',X'A8BD85C62318A824E02B2BFC4BD414CA');
INSERT INTO "features" VALUES('000000000000000000000000000000000000000000000000000000000000000c',1,0,12,7,X'FE9E2F3CEF39CB397A3ED2BC04B948BDE5AEFD3B9EA5EF37A5BFB53041BB1A3F183B983B68ABE738433983B5F5B758AFD8B8C1B889B4D4B9213A62BE973A01B95EB867BD9EB0EDB3203245B8002E473F8B3697B8A03B1FB0C038E73842B6B9BF90B5693815B60637D63B5AB8ED3C7D3E513CA93C633C8240F3314518D33844BB36BE0EBBF635923725BE89BF0FB505B24CAA5F39EA3C6433E73861BCB5BC8F335139CF39BE38463A',X'0000000000000000000000000000E03F000000000000E03F000000000000F03F000000000000F03F000000000000F83F000000000000F83F0000000000000040000000000000004000000000000004400000000000000440000000000000084000000000000008400000000000000C400000000000000C40000000000000104000000000000010400000000000001240000000000000124000000000000014400000000000001440000000000000164000000000000016400000000000001840',X'0000000000000000000000000000E03F000000000000E03F000000000000F03F000000000000F03F000000000000F83F000000000000F83F0000000000000040000000000000004000000000000004400000000000000440000000000000084000000000000008400000000000000C400000000000000C40000000000000104000000000000010400000000000001240000000000000124000000000000014400000000000001440000000000000164000000000000016400000000000001840',X'50EE4397E58EB4AF73E90A312FC68691');
CREATE TABLE roots (
        id INTEGER PRIMARY KEY,
        path_bytes BLOB NOT NULL UNIQUE,
        path TEXT NOT NULL
    );
INSERT INTO "roots" VALUES(1,X'2F61726368697665','/archive');
CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    );
INSERT INTO "settings" VALUES('extractor','1');
INSERT INTO "settings" VALUES('catalog','"00000000000000000000000000000000"');
INSERT INTO "settings" VALUES('model','"blocks"');
CREATE TABLE vectors (
        window_id INTEGER PRIMARY KEY REFERENCES windows (id) ON DELETE CASCADE,
        n INTEGER NOT NULL,
        dim INTEGER NOT NULL,
        data BLOB NOT NULL,
        spans BLOB NOT NULL
    , digest BLOB);
INSERT INTO "vectors" VALUES(1,2,4,X'6CBF003E7F4607BEBDF2233FDFD5D63DA12109BFFD22B93E79E9A63FE673723F',X'00000000030000000200000004000000',X'53A729EDF8E3BB4BAE2912FC3760B1B4');
CREATE TABLE videos (
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
    );
INSERT INTO "videos" VALUES(1,1,X'6B69746368656E2E6D7034','kitchen.mp4',1012,1700000000000000000,'000000000000000000000000000000000000000000000000000000000000000c',6.0,320,240,0,25.0,'h264','mov',NULL,'indexed');
INSERT INTO "videos" VALUES(2,1,X'646F6F7220FF2E6D7034','door �.mp4',1005,1700000000000000000,'0000000000000000000000000000000000000000000000000000000000000005',2.5,320,240,0,25.0,'h264','mov',NULL,'indexed');
INSERT INTO "videos" VALUES(3,1,X'636F70792E6D7034','copy.mp4',1012,1700000000000000000,'000000000000000000000000000000000000000000000000000000000000000c',6.0,320,240,0,25.0,'h264','mov',NULL,'missing');
INSERT INTO "videos" VALUES(4,1,X'62726F6B656E2E6D7034','broken.mp4',1,1700000000000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'failed');
CREATE TABLE windows (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        extractor_id INTEGER NOT NULL REFERENCES extractors (id) ON DELETE CASCADE,
        content_hash TEXT NOT NULL,
        first INTEGER NOT NULL,
        n INTEGER NOT NULL,
        UNIQUE (model, extractor_id, content_hash, first)
    );
INSERT INTO "windows" VALUES(1,'m',1,'0000000000000000000000000000000000000000000000000000000000000005',0,5);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX idx_videos_content_hash ON videos (content_hash);
CREATE INDEX idx_windows_content_hash ON windows (content_hash);
CREATE VIEW video_list AS
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
    LEFT JOIN failures AS f ON f.video_id = v.id AND f.extractor_id = in_use.id;
CREATE VIEW failure_list AS
    SELECT f.path, f.stage, f.error, f.remedy, f.attempts, f."when" AS last_tried, e.backbone,
        v.state
    FROM failures AS f
    JOIN videos AS v ON v.id = f.video_id
    JOIN extractors AS e ON e.id = f.extractor_id;
CREATE VIEW storage_by_table AS
    SELECT 'features' AS name, count(*) AS row_count,
        coalesce(sum(length(data) + length(seen) + length(cells)), 0) AS bytes FROM features
    UNION ALL
    SELECT 'vectors', count(*), coalesce(sum(length(data) + length(spans)), 0) FROM vectors
    UNION ALL
    SELECT 'videos', count(*), coalesce(sum(length(path_bytes) + length(path)), 0) FROM videos
    UNION ALL
    SELECT 'failures', count(*),
        coalesce(sum(length(path) + length(error) + length(coalesce(remedy, ''))), 0)
    FROM failures;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('windows',1);
COMMIT;
