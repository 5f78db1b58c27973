-- artdaqDB's documents in PostgreSQL. A version is a run as it was stored once; it is shown or not, as a whole.
CREATE TABLE artdaqdb.versions (
    configuration text        NOT NULL,               -- "300/standard"
    version       text        NOT NULL,               -- "300/standard", "300/standardv1", ...
    number        integer     NOT NULL,               -- N of vN, 0 for the first: text would put v9 above v10
    run           bigint      NOT NULL,
    assigned      timestamptz NOT NULL,               -- when it was staged
    visible       boolean     NOT NULL DEFAULT false, -- set by publishing, in the same step for the whole run
    PRIMARY KEY (configuration, version)
);
CREATE INDEX versions_visible_run ON artdaqdb.versions (run) WHERE visible;

CREATE TABLE artdaqdb.documents (
    collection    text  NOT NULL,                     -- "RunHistory", "SystemLayout"
    oid           text  NOT NULL,                     -- 24 hex characters, derived from collection, version and entity
    entity        text  NOT NULL,                     -- "boot"
    configuration text  NOT NULL,
    version       text  NOT NULL,
    document      jsonb NOT NULL,                     -- the files' own bytes are in origin.rawdata
    PRIMARY KEY (collection, oid),
    FOREIGN KEY (configuration, version) REFERENCES artdaqdb.versions
);
CREATE INDEX documents_version ON artdaqdb.documents (configuration, version);

-- Changes with everything that changes what the archive shows, whoever does it, a person with psql included.
CREATE TABLE artdaqdb.stamp (value uuid NOT NULL);
INSERT INTO artdaqdb.stamp VALUES (gen_random_uuid());

CREATE FUNCTION artdaqdb.restamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed WHERE visible) THEN
        UPDATE artdaqdb.stamp SET value = gen_random_uuid();
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER arrived AFTER INSERT ON artdaqdb.versions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION artdaqdb.restamp();
CREATE TRIGGER shown AFTER UPDATE ON artdaqdb.versions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION artdaqdb.restamp();
CREATE TRIGGER hidden AFTER UPDATE ON artdaqdb.versions REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION artdaqdb.restamp();
CREATE TRIGGER gone AFTER DELETE ON artdaqdb.versions REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION artdaqdb.restamp();

CREATE FUNCTION artdaqdb.restamp_always() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE artdaqdb.stamp SET value = gen_random_uuid();
    RETURN NULL;
END $$;
CREATE TRIGGER emptied AFTER TRUNCATE ON artdaqdb.versions
    FOR EACH STATEMENT EXECUTE FUNCTION artdaqdb.restamp_always();
