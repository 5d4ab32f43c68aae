"""The spine: request keys, runs, the ledger, reviews, contracts, workers, the gate, the desk."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE request_key (
        tenant              text        NOT NULL,
        key                 text        NOT NULL,
        fingerprint         bytea       NOT NULL,
        fingerprint_version smallint    NOT NULL,
        run_id              uuid        NOT NULL,
        created_at          timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, key),
        CONSTRAINT key_fits CHECK (octet_length(key) BETWEEN 1 AND 255))
    """,
    """
    CREATE TABLE run (
        id               uuid           PRIMARY KEY,
        seq              bigint         GENERATED ALWAYS AS IDENTITY NOT NULL,
        tenant           text           NOT NULL,
        pipeline         text           NOT NULL,
        version          integer        NOT NULL,
        input            json           NOT NULL,
        subject          text,
        budget           json           NOT NULL,
        priority         smallint       NOT NULL DEFAULT 5,
        status           varchar(40)    NOT NULL DEFAULT 'queued'
            CHECK (status IN ('queued', 'running', 'waiting', 'finished')),
        waiting_for      varchar(40),
        attempt          integer        NOT NULL DEFAULT 0,
        crashes          smallint       NOT NULL DEFAULT 0,
        bugs             smallint       NOT NULL DEFAULT 0,
        worker           uuid,
        lease_expires_at timestamptz,
        dispatch_at      timestamptz    DEFAULT now(),
        stop_reason      varchar(40),
        detail           text,
        error            json,
        partial          json,
        result           json,
        steps            integer        NOT NULL DEFAULT 0,
        calls            integer        NOT NULL DEFAULT 0,
        tokens           bigint         NOT NULL DEFAULT 0,
        reserved_usd     numeric(14, 8) NOT NULL DEFAULT 0,
        spent_usd        numeric(14, 8) NOT NULL DEFAULT 0,
        active_s         float          NOT NULL DEFAULT 0,
        created_at       timestamptz    NOT NULL DEFAULT now(),
        started_at       timestamptz,
        finished_at      timestamptz,
        CONSTRAINT a_finished_run_says_why
            CHECK ((status = 'finished') = (stop_reason IS NOT NULL)),
        CONSTRAINT a_running_run_has_a_lease
            CHECK (status <> 'running' OR (lease_expires_at IS NOT NULL AND worker IS NOT NULL)),
        CONSTRAINT a_waiting_run_says_for_what
            CHECK (status <> 'waiting' OR waiting_for IS NOT NULL),
        CONSTRAINT a_queued_run_has_its_time
            CHECK (status <> 'queued' OR dispatch_at IS NOT NULL)
    ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)
    """,
    "CREATE INDEX run_due ON run (tenant, priority, dispatch_at, seq) WHERE status = 'queued'",
    "CREATE INDEX run_lease ON run (lease_expires_at) WHERE status = 'running'",
    "CREATE INDEX run_waiting ON run (waiting_for) WHERE status = 'waiting'",
    """
    CREATE UNIQUE INDEX run_one_per_subject ON run (tenant, subject)
     WHERE subject IS NOT NULL AND attempt > 0 AND status <> 'finished'
    """,
    """
    CREATE INDEX run_line ON run (tenant, subject, seq)
     WHERE subject IS NOT NULL AND status <> 'finished'
    """,
    """
    CREATE FUNCTION attempt_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'run %: attempt may not fall from % to %', OLD.id, OLD.attempt, NEW.attempt;
    END $$
    """,
    """
    CREATE TRIGGER run_attempt_only_grows BEFORE UPDATE OF attempt ON run
        FOR EACH ROW WHEN (NEW.attempt < OLD.attempt) EXECUTE FUNCTION attempt_only_grows()
    """,
    """
    CREATE TABLE ledger_entry (
        run_id       uuid           NOT NULL,
        step         text           NOT NULL,
        number       integer        NOT NULL,
        kind         varchar(40)    NOT NULL,
        tool         text,
        effect       text,
        args         json,
        args_hash    bytea          NOT NULL,
        state        varchar(40)    NOT NULL
            CHECK (state IN ('reserved', 'released', 'settled', 'rejected', 'in_doubt')),
        attempt      integer        NOT NULL,
        tries        integer        NOT NULL DEFAULT 1,
        token        uuid           NOT NULL,
        reserved_usd numeric(14, 8) NOT NULL DEFAULT 0,
        spent_usd    numeric(14, 8) NOT NULL DEFAULT 0,
        tokens       integer        NOT NULL DEFAULT 0,
        result       json,
        error        json,
        send_before  timestamptz,
        created_at   timestamptz    NOT NULL DEFAULT now(),
        settled_at   timestamptz,
        PRIMARY KEY (run_id, step)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE TABLE review (
        id            uuid        PRIMARY KEY,
        run_id        uuid        NOT NULL,
        step          text        NOT NULL,
        tenant        text        NOT NULL,
        kind          varchar(40) NOT NULL,
        question      text        NOT NULL,
        proposal      json,
        answer_schema json,
        verdict       varchar(40),
        answer        json,
        note          text,
        who           text,
        asked_at      timestamptz NOT NULL DEFAULT now(),
        decide_by     timestamptz,
        decided_at    timestamptz,
        CONSTRAINT a_verdict_has_its_time CHECK ((verdict IS NULL) = (decided_at IS NULL)))
    """,
    "CREATE UNIQUE INDEX review_of_step ON review (run_id, step)",
    "CREATE INDEX review_open ON review (decide_by) WHERE verdict IS NULL",
    """
    CREATE TABLE contract (
        name          text        NOT NULL,
        version       integer     NOT NULL,
        input_schema  json        NOT NULL,
        result_schema json        NOT NULL,
        budget        json        NOT NULL,
        published_at  timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (name, version))
    """,
    """
    CREATE TABLE worker (
        id         uuid        PRIMARY KEY,
        host       text        NOT NULL,
        pid        integer     NOT NULL,
        runs       json        NOT NULL,
        started_at timestamptz NOT NULL DEFAULT now(),
        last_seen  timestamptz NOT NULL DEFAULT now())
    """,
    """
    CREATE TABLE gate (
        scope      text        PRIMARY KEY,
        mode       varchar(40) NOT NULL CHECK (mode IN ('open', 'read_only', 'closed')),
        epoch      integer     NOT NULL DEFAULT 0,
        reason     text        NOT NULL DEFAULT '',
        who        text        NOT NULL DEFAULT '',
        changed_at timestamptz NOT NULL DEFAULT now())
    """,
    "INSERT INTO gate (scope, mode) VALUES ('fleet', 'open')",
    """
    CREATE TABLE refusal (
        id         uuid        PRIMARY KEY,
        tenant     text        NOT NULL,
        key        text        NOT NULL,
        code       text        NOT NULL,
        detail     text        NOT NULL,
        refused_at timestamptz NOT NULL DEFAULT now())
    """,
    "CREATE INDEX refusal_of_key ON refusal (tenant, key, refused_at)",
    """
    CREATE TABLE tenant (
        name       text        PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now())
    """,
    """
    CREATE TABLE api_key (
        id          text        PRIMARY KEY,
        tenant      text        NOT NULL REFERENCES tenant (name),
        proof       bytea       NOT NULL,
        signing_key bytea       NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT now(),
        revoked_at  timestamptz)
    """,
    """
    CREATE TABLE desk_ticket (
        id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        external_ref text        NOT NULL,
        title        text        NOT NULL,
        body         text        NOT NULL,
        category     text        NOT NULL,
        queue        text        NOT NULL,
        priority     varchar(40) NOT NULL,
        tenant       text        NOT NULL,
        run_id       uuid        NOT NULL,
        writes       integer     NOT NULL DEFAULT 1,
        created_at   timestamptz NOT NULL DEFAULT now(),
        UNIQUE (tenant, external_ref))
    """,
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
