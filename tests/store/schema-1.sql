CREATE TABLE facts (name VARCHAR(64) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
CREATE TABLE steps (round INTEGER NOT NULL, step VARCHAR(16) NOT NULL, seconds FLOAT NOT NULL, finished FLOAT NOT NULL,
    artefact TEXT, figures TEXT NOT NULL, PRIMARY KEY (round, step));
CREATE TABLE queries (id VARCHAR(512) NOT NULL, round INTEGER NOT NULL, rank INTEGER NOT NULL, "row" INTEGER NOT NULL,
    score FLOAT NOT NULL, why VARCHAR(64) NOT NULL, prediction VARCHAR(256), confidence FLOAT, PRIMARY KEY (id));
CREATE TABLE labels (id VARCHAR(512) NOT NULL, label VARCHAR(256) NOT NULL, annotator VARCHAR(64) NOT NULL,
    at FLOAT NOT NULL, PRIMARY KEY (id), FOREIGN KEY(id) REFERENCES queries (id));
CREATE TABLE unreadable (id VARCHAR(512) NOT NULL, round INTEGER, PRIMARY KEY (id));
INSERT INTO facts VALUES ('schema', '1');
INSERT INTO steps VALUES (0, 'query', 1.0, 100.0, 'round-000/query', '{}');
INSERT INTO steps VALUES (1, 'query', 1.0, 120.0, 'round-001/query', '{}');
INSERT INTO steps VALUES (0, 'label', 1.0, 110.0, NULL, '{}');
INSERT INTO queries VALUES ('a', 0, 0, 7, 0.5, 'random', NULL, NULL);
INSERT INTO queries VALUES ('b', 1, 0, 8, 0.5, 'random', 'cat', 0.9);
INSERT INTO labels VALUES ('a', 'cat', 'anna', 105.0);
INSERT INTO unreadable VALUES ('broken', 0);
