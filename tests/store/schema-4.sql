CREATE TABLE facts (name VARCHAR(64) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
CREATE TABLE steps (round INTEGER NOT NULL, step VARCHAR(16) NOT NULL, number INTEGER DEFAULT '0' NOT NULL,
    seconds FLOAT NOT NULL, finished FLOAT NOT NULL, artefact TEXT, figures TEXT NOT NULL, PRIMARY KEY (round, step));
CREATE TABLE queries (id TEXT NOT NULL, round INTEGER NOT NULL, rank INTEGER NOT NULL, "row" BIGINT NOT NULL,
    score FLOAT NOT NULL, why TEXT NOT NULL, prediction TEXT, confidence FLOAT, PRIMARY KEY (id));
CREATE INDEX ix_queries_round ON queries (round);
CREATE TABLE labels (id TEXT NOT NULL, label TEXT NOT NULL, annotator TEXT NOT NULL, at FLOAT NOT NULL,
    PRIMARY KEY (id), FOREIGN KEY(id) REFERENCES queries (id));
CREATE TABLE corrections (id TEXT NOT NULL, wrong TEXT NOT NULL, missed TEXT NOT NULL, against TEXT NOT NULL,
    shown TEXT, annotator TEXT NOT NULL, at FLOAT NOT NULL, PRIMARY KEY (id), FOREIGN KEY(id) REFERENCES labels (id));
CREATE TABLE unreadable (id TEXT NOT NULL, round INTEGER, why TEXT DEFAULT 'cannot be read' NOT NULL, PRIMARY KEY (id));
INSERT INTO facts VALUES ('schema', '4');
INSERT INTO facts VALUES ('pool', 'abc');
INSERT INTO steps VALUES (0, 'query', 1, 1.5, 100.0, 'round-000/query', '{"chosen": {"random": 1}}');
INSERT INTO steps VALUES (0, 'label', 2, 0.5, 110.0, NULL, '{"labels": 1}');
INSERT INTO steps VALUES (1, 'query', 3, 2.5, 120.0, 'round-001/query', '{"accuracy": 0.75}');
INSERT INTO queries VALUES ('a', 0, 0, 7, 0.5, 'random', NULL, NULL);
INSERT INTO queries VALUES ('b', 1, 0, 8, 0.25, 'margin', 'cat', 0.9);
INSERT INTO labels VALUES ('a', 'cat', 'anna', 105.0);
INSERT INTO labels VALUES ('b', 'dog', 'ben', 125.0);
INSERT INTO corrections VALUES ('b', '[3, 5]', '[]', '[1]', 'round-001/query', 'ben', 125.0);
INSERT INTO unreadable VALUES ('broken', 0, 'cannot be read');
INSERT INTO unreadable VALUES ('odd', 1, 'ValueError: odd');
