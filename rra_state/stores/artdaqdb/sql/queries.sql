-- All statements of the PostgreSQL store but its schema. `-- name:` begins one; postgres.py uses it by that name.

-- name: lock_schema
-- Two archivers that start at once must not both create the tables. The number is arbitrary.
SELECT pg_advisory_xact_lock(7271270)

-- name: has_schema
SELECT to_regnamespace('artdaqdb') IS NOT NULL

-- name: make_schema
CREATE SCHEMA artdaqdb

-- name: make_history
CREATE TABLE IF NOT EXISTS artdaqdb.schema_history (
    number integer PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
)

-- name: has_history
SELECT to_regclass('artdaqdb.schema_history') IS NOT NULL

-- name: applied
SELECT number FROM artdaqdb.schema_history

-- name: note_applied
INSERT INTO artdaqdb.schema_history (number) VALUES (%(number)s)

-- name: may_make_schema
SELECT CASE WHEN to_regnamespace('artdaqdb') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege('artdaqdb', 'CREATE') END, current_user

-- name: may_write
-- One privilege per call: a call with several is true if the role has any of them.
SELECT bool_and(has_table_privilege('artdaqdb.' || name, privilege)), current_user
FROM (VALUES ('versions', 'SELECT'), ('versions', 'INSERT'), ('versions', 'UPDATE'),
             ('documents', 'SELECT'), ('documents', 'INSERT'), ('documents', 'DELETE'),
             ('stamp', 'SELECT'), ('stamp', 'UPDATE')) AS needed (name, privilege)

-- name: stamp
SELECT value::text FROM artdaqdb.stamp

-- name: runs
SELECT DISTINCT run FROM artdaqdb.versions WHERE visible

-- name: newest
-- The versions that runs are read under: of several configurations the one assigned last.
WITH newest AS (
    SELECT DISTINCT ON (run) run, configuration, version
    FROM (
        SELECT run, configuration, version, number,
               max(assigned) OVER (PARTITION BY run, configuration) AS assigned_last
        FROM artdaqdb.versions
        WHERE visible AND run = ANY(%(runs)s)
    ) AS shown
    ORDER BY run, assigned_last DESC, configuration DESC, number DESC
)

-- name: locate
-- after: newest
SELECT run, configuration, version,
       array_agg(ARRAY[collection, entity, oid] ORDER BY collection COLLATE "C", entity COLLATE "C")
FROM newest JOIN artdaqdb.documents USING (configuration, version)
GROUP BY run, configuration, version

-- name: outlines
-- Counted by the server: 100,000 runs have 1.7 million documents.
-- after: newest
SELECT run, newest.configuration, newest.version, found.needed = cardinality(%(needed)s::text[])
FROM newest CROSS JOIN LATERAL (
    SELECT count(*) AS documents,
           count(DISTINCT entity) FILTER (WHERE collection = 'RunHistory' AND entity = ANY(%(needed)s)) AS needed
    FROM artdaqdb.documents
    WHERE documents.configuration = newest.configuration AND documents.version = newest.version
) AS found
WHERE found.documents > 0

-- name: stage_version
-- A visible version is not changed: then no row is returned.
INSERT INTO artdaqdb.versions (configuration, version, number, run, assigned)
VALUES (%(configuration)s, %(version)s, %(number)s, %(run)s, %(assigned)s)
ON CONFLICT (configuration, version) DO UPDATE SET assigned = excluded.assigned, run = excluded.run
    WHERE NOT versions.visible

-- name: clear_version
-- Removes the documents of an earlier try that was not published.
DELETE FROM artdaqdb.documents
WHERE configuration = %(configuration)s AND version = %(version)s
  AND NOT (SELECT visible FROM artdaqdb.versions WHERE configuration = %(configuration)s AND version = %(version)s)

-- name: stage_document
INSERT INTO artdaqdb.documents (collection, oid, entity, configuration, version, document)
VALUES (%(collection)s, %(oid)s, %(entity)s, %(configuration)s, %(version)s, %(document)s)

-- name: publish
UPDATE artdaqdb.versions SET visible = true
WHERE configuration = %(configuration)s AND version = %(version)s AND assigned = %(assigned)s AND NOT visible

-- name: published
SELECT visible FROM artdaqdb.versions
WHERE configuration = %(configuration)s AND version = %(version)s AND assigned = %(assigned)s

-- name: documents
-- Without the tree of a document that holds its file's bytes: they are what is read of it, and a tenth of its size.
SELECT oid, CASE WHEN document #>> '{origin,rawdata,0}' = 'rra:base64'
                 THEN document - '{document,comments,bookkeeping}'::text[] ELSE document END
FROM artdaqdb.documents
WHERE collection = 'RunHistory' AND oid = ANY(%(oids)s)
