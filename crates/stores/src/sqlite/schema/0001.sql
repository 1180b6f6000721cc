-- What is written is found again here. `STRICT` keeps texts out of numbers.

-- One row, changed by the store itself: proof that it can write, and what retention took.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    probes INTEGER NOT NULL,
    base_seq INTEGER NOT NULL,
    base_mac BLOB NOT NULL,
    retired_calls INTEGER NOT NULL,
    retired_rows INTEGER NOT NULL
) STRICT;

-- The chain. Rows are added at its end and taken away at its beginning, never changed.
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    call BLOB,
    note TEXT,
    digest BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT;

-- One row for each call: the RX half when it opens, the TX half when it closes. Its number is the
-- millisecond in which it came in, times 2^20, plus the lowest 20 bits of its row in the journal:
-- the table and each of its indexes are in the order of time without a column for that.
-- `settled`: 0 not yet, 1 when it was closed, 2 after that.
CREATE TABLE call (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    received INTEGER NOT NULL,
    key_id TEXT,
    tenant TEXT,
    sandbox INTEGER NOT NULL,
    address TEXT NOT NULL,
    agent TEXT,
    dialect TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    stream INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    estimate INTEGER NOT NULL,
    scopes TEXT NOT NULL,
    admitted INTEGER NOT NULL,
    reserved_requests INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL,
    reserved_cost INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    settled INTEGER NOT NULL DEFAULT 0,
    ended INTEGER,
    first_byte INTEGER,
    model_served TEXT,
    upstream TEXT,
    replay_of BLOB,
    status INTEGER,
    stop_reason TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cached_tokens INTEGER,
    estimated INTEGER,
    overrun INTEGER,
    losses TEXT,
    bytes_out INTEGER,
    failure TEXT,
    message TEXT,
    spent_scopes TEXT,
    spent_admitted INTEGER,
    spent_requests INTEGER,
    spent_tokens INTEGER,
    spent_cost INTEGER
) STRICT;

CREATE INDEX call_key ON call (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX call_tenant ON call (tenant) WHERE tenant IS NOT NULL;
CREATE INDEX call_model ON call (model);
CREATE INDEX call_served ON call (model_served)
    WHERE model_served IS NOT NULL AND model_served <> model;
CREATE INDEX call_status ON call (status) WHERE status IS NOT NULL;
CREATE INDEX call_unsettled ON call (n) WHERE settled = 0;

-- What was said. The slot is twice the number of the call, plus one for the reply, so that rows
-- are added near the end of the table. `codec`: 0 as it was, 1 LZ4.
CREATE TABLE body (
    slot INTEGER PRIMARY KEY,
    codec INTEGER NOT NULL,
    size INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE vkey (
    id TEXT PRIMARY KEY,
    json TEXT NOT NULL,
    last_used INTEGER
) STRICT;

CREATE TABLE tenant (
    id TEXT PRIMARY KEY,
    json TEXT NOT NULL
) STRICT;

-- What was spent, by the minute of admission. Never pruned.
CREATE TABLE ledger (
    minute INTEGER NOT NULL,
    scope TEXT NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (minute, scope)
) STRICT, WITHOUT ROWID;

-- The sum of the ledger for each scope.
CREATE TABLE ledger_total (
    scope TEXT PRIMARY KEY,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE refusal_count (
    minute INTEGER NOT NULL,
    reason TEXT NOT NULL,
    network TEXT NOT NULL,
    key_id TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute, reason, network, key_id)
) STRICT, WITHOUT ROWID;
