CREATE TABLE event_store (
    id TEXT COLLATE "C" NOT NULL,
    log BIGINT NOT NULL,
    time_us BIGINT NOT NULL,
    lane BIGINT NOT NULL,
    priority BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    is_json BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    headers TEXT,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (id, log)
);
CREATE INDEX event_store_by_time ON event_store (time_us, lane, bytes);
CREATE INDEX event_store_by_name ON event_store (name, time_us);

CREATE TABLE websocket_sessions (
    id TEXT COLLATE "C" NOT NULL,
    since_ms BIGINT NOT NULL,
    run TEXT COLLATE "C" NOT NULL,
    instance TEXT NOT NULL,
    subject TEXT COLLATE "C",
    transport TEXT NOT NULL,
    carrier TEXT NOT NULL,
    encoding TEXT NOT NULL,
    address TEXT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    code BIGINT,
    reason TEXT,
    PRIMARY KEY (since_ms, id)
);
CREATE INDEX websocket_sessions_by_subject ON websocket_sessions (subject, since_ms);
CREATE INDEX websocket_sessions_open ON websocket_sessions (run) WHERE ended_ms IS NULL;

CREATE TABLE tidings_store_runs (
    run TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    log BIGINT NOT NULL,
    instance TEXT NOT NULL,
    seen_ms BIGINT NOT NULL
);

CREATE TABLE tidings_store_places (
    log BIGINT NOT NULL,
    lane BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (log, lane)
);
