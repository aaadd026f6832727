-- A start of a server. It lives while it holds its byte of the file beside this one (shared.py).
CREATE TABLE daemons (
    daemon INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    began TEXT NOT NULL,
    seen TEXT NOT NULL, -- when it wrote last
    ended INTEGER NOT NULL DEFAULT 0, -- 1: it has ended, or was found dead
    totals TEXT, -- its lifetime totals as JSON, those it went on from included
    heir INTEGER -- the start that went on from these totals
);

-- A run: ended, interrupted by the end of its server, or active as of the last checkpoint.
CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    daemon INTEGER NOT NULL,
    state TEXT NOT NULL,
    name TEXT,
    began TEXT NOT NULL, -- ISO 8601 in UTC with milliseconds, so its order is that of time
    listeners TEXT NOT NULL, -- JSON: the names of the listeners that took its streams
    labels TEXT NOT NULL, -- JSON: for each label of theirs its values
    record TEXT NOT NULL -- JSON: the run record under the fields' own names
);
CREATE INDEX runs_by_time ON runs (began, run);
CREATE INDEX runs_under_way ON runs (daemon) WHERE state = 'active';

-- Result documents of ctrlload.
CREATE TABLE results (
    result INTEGER PRIMARY KEY AUTOINCREMENT,
    stored TEXT NOT NULL,
    document TEXT NOT NULL
);
