-- A database as version 1 wrote it (recorded from a real one; the journal's key is 32 times 7).
BEGIN TRANSACTION;
CREATE TABLE body (
    slot INTEGER PRIMARY KEY,
    codec INTEGER NOT NULL,
    size INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
INSERT INTO "body" VALUES(3753902163888177158,1,513,X'EF7B2272657175657374223A317D200100FFDB60202020202020');
INSERT INTO "body" VALUES(3753902163888177159,0,11,X'7B227265706C79223A317D');
INSERT INTO "body" VALUES(3753902163890274312,1,513,X'EF7B2272657175657374223A327D200100FFDB60202020202020');
INSERT INTO "body" VALUES(3753902163890274313,0,11,X'7B227265706C79223A327D');
INSERT INTO "body" VALUES(3753902163892371466,1,513,X'EF7B2272657175657374223A337D200100FFDB60202020202020');
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
INSERT INTO "call" VALUES(1876951081944088579,X'01A0C451084170008000000000000001',1790000040001,'bbbbbbbbbbbb','team',0,'192.0.2.7','curl/8','openai-chat','chat','auto',1,3,1000,250,'key:bbbbbbbbbbbb tenant:team',1790000040001,1,4000,90,3,1,1790000040010,1790000040006,'gpt-5','vscode',NULL,200,'end_turn',260,40,7,1,0,'top_k,seed',160,NULL,NULL,NULL,NULL,1,300,20);
INSERT INTO "call" VALUES(1876951081945137156,X'01A0C451084270008000000000000002',1790000040002,'bbbbbbbbbbbb','team',0,'192.0.2.7','curl/8','openai-chat','chat','auto',1,3,1000,250,'key:bbbbbbbbbbbb tenant:team',1790000040002,1,4000,90,4,2,1790000040011,1790000040007,'gpt-5','vscode',NULL,200,'end_turn',260,40,7,1,0,'top_k,seed',160,NULL,NULL,NULL,NULL,1,300,20);
INSERT INTO "call" VALUES(1876951081946185733,X'01A0C451084370008000000000000003',1790000040003,'bbbbbbbbbbbb','team',0,'192.0.2.7','curl/8','openai-chat','chat','auto',1,3,1000,250,'key:bbbbbbbbbbbb tenant:team',1790000040003,1,4000,90,5,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    call BLOB,
    note TEXT,
    digest BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT;
INSERT INTO "journal" VALUES(1,4,1795618808202,NULL,'{"actor":"machine","change":"created","of":"tenant:team","now":"{\"id\":\"team\",\"notes\":\"\",\"created\":1790000040000,\"revoked\":1790000040001,\"weight\":3,\"bounds\":{\"models\":[],\"endpoints\":[],\"networks\":[],\"max_body\":5,\"budgets\":[]}}"}',X'3B59E605E9C5EF7265F7A3ECAE1C476DA76A72615BAD01902682A7001682D47A',X'295C5E16DCAA0EF1E3FB6CC2AAB88AAE8D0CA35184A8BF8CA3D75E5B862474CC');
INSERT INTO "journal" VALUES(2,4,1795618808202,NULL,'{"actor":"machine","change":"created","of":"key:bbbbbbbbbbbb","now":"{\"id\":\"bbbbbbbbbbbb\",\"tenant\":\"team\",\"parent\":\"dddddddddddd\",\"kind\":\"sandbox\",\"name\":\"für \\\"Tests\\\"\",\"notes\":\"a\\nb\",\"created\":1790000040000,\"expires\":1790000040005,\"digest\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"earlier\":[[7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7],1790000040009],\"uses\":18446744073709551615,\"can_mint\":true,\"priority\":200,\"audit\":\"metadata\",\"bounds\":{\"models\":[\"gpt-*\"],\"endpoints\":[\"responses\",\"count_tokens\"],\"networks\":[\"10.0.0.0/8\",\"2001:db8::/32\"],\"max_output\":1,\"max_body\":2,\"requests_per_minute\":3,\"tokens_per_minute\":4,\"concurrency\":0,\"budgets\":[[\"cost\",\"month\",18446744073709551615],[\"requests\",\"total\",0]]}}"}',X'2DED5840816B9EE6B991F298B407312AD07440ABCB578E24400CC14151F89C90',X'AE54F274E41345EAA80336446F30DC01D275DA5EAD0F11FAF18882A7B020B0CB');
INSERT INTO "journal" VALUES(3,1,1790000040001,X'01A0C451084170008000000000000001',NULL,X'52D34EC5450166E44C063D2319BB67DC5D706005179F52B068E76017075BC1D7',X'32B8F2D9772753CADCA0004FB86C20F732A1DA87E5F4C10C74259F19B345B2A1');
INSERT INTO "journal" VALUES(4,1,1790000040002,X'01A0C451084270008000000000000002',NULL,X'752DD36F50EBA3522D75F0AB13D4420F75F747739DC89E7C17F0D7A3A693E88F',X'4077E9B63264F5276F570C610478D1D5E78C2D3A97053A595E0AE8CFD0434A77');
INSERT INTO "journal" VALUES(5,1,1790000040003,X'01A0C451084370008000000000000003',NULL,X'0DC288577E5DA9CDF95E716CA952E26C0FACDA0EEC03EE5488F573F39827B3B2',X'8F996328976B9F96ECC9164877518164934FD8E49E9846017C583F6C7A5591E6');
INSERT INTO "journal" VALUES(6,2,1790000040010,X'01A0C451084170008000000000000001',NULL,X'6416482E2A993A9DDE5CD3EBCECAC8FB31D40027DF68F41D58691B07F9BF17D6',X'2F7B34559D47A045CF01EEE3606A3231FE7E7AE93BCDE8E687BF9751CF7B3421');
INSERT INTO "journal" VALUES(7,2,1790000040011,X'01A0C451084270008000000000000002',NULL,X'F6785C1A9DC0B3CAB3ECE84B8E55F7F10DCCC08ED1CDC8DF3B56762753723532',X'F22BC2FEF627C496806E9A2C03AA37CE022DD1A3AA48AC39F99CEB8CF835A6AE');
INSERT INTO "journal" VALUES(8,3,1795618808203,X'01A0C451084270008000000000000002',NULL,X'37DD9636CFB36E27676844B84FAC5B780DCBC79471F989C142C54B02C2BB9E9D',X'DCCD94AA59FDA5290147449AD6C2A3395D105118DED99F7F0E5ADD408C70DA95');
CREATE TABLE ledger (
    minute INTEGER NOT NULL,
    scope TEXT NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (minute, scope)
) STRICT, WITHOUT ROWID;
INSERT INTO "ledger" VALUES(29833334,'key:bbbbbbbbbbbb',2,600,40);
INSERT INTO "ledger" VALUES(29833334,'tenant:team',2,600,40);
CREATE TABLE ledger_total (
    scope TEXT PRIMARY KEY,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "ledger_total" VALUES('key:bbbbbbbbbbbb',2,600,40);
INSERT INTO "ledger_total" VALUES('tenant:team',2,600,40);
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    probes INTEGER NOT NULL,
    base_seq INTEGER NOT NULL,
    base_mac BLOB NOT NULL,
    retired_calls INTEGER NOT NULL,
    retired_rows INTEGER NOT NULL
) STRICT;
INSERT INTO "meta" VALUES(1,0,0,X'0000000000000000000000000000000000000000000000000000000000000000',0,0);
CREATE TABLE refusal_count (
    minute INTEGER NOT NULL,
    reason TEXT NOT NULL,
    network TEXT NOT NULL,
    key_id TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute, reason, network, key_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE tenant (
    id TEXT PRIMARY KEY,
    json TEXT NOT NULL
) STRICT;
INSERT INTO "tenant" VALUES('team','{"id":"team","notes":"","created":1790000040000,"revoked":1790000040001,"weight":3,"bounds":{"models":[],"endpoints":[],"networks":[],"max_body":5,"budgets":[]}}');
CREATE TABLE vkey (
    id TEXT PRIMARY KEY,
    json TEXT NOT NULL,
    last_used INTEGER
) STRICT;
INSERT INTO "vkey" VALUES('bbbbbbbbbbbb','{"id":"bbbbbbbbbbbb","tenant":"team","parent":"dddddddddddd","kind":"sandbox","name":"für \"Tests\"","notes":"a\nb","created":1790000040000,"expires":1790000040005,"digest":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"earlier":[[7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7],1790000040009],"uses":18446744073709551615,"can_mint":true,"priority":200,"audit":"metadata","bounds":{"models":["gpt-*"],"endpoints":["responses","count_tokens"],"networks":["10.0.0.0/8","2001:db8::/32"],"max_output":1,"max_body":2,"requests_per_minute":3,"tokens_per_minute":4,"concurrency":0,"budgets":[["cost","month",18446744073709551615],["requests","total",0]]}}',NULL);
CREATE INDEX call_key ON call (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX call_tenant ON call (tenant) WHERE tenant IS NOT NULL;
CREATE INDEX call_model ON call (model);
CREATE INDEX call_served ON call (model_served)
    WHERE model_served IS NOT NULL AND model_served <> model;
CREATE INDEX call_status ON call (status) WHERE status IS NOT NULL;
CREATE INDEX call_unsettled ON call (n) WHERE settled = 0;
COMMIT;
PRAGMA user_version = 1;
