"""Memory, and the wall between the tenants of it that does not depend on our queries."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    """
    CREATE TABLE memory (
        tenant     text        NOT NULL CONSTRAINT memory_is_somebodys CHECK (tenant <> ''),
        scope      text        NOT NULL,
        key        text        NOT NULL,
        value      json        NOT NULL,
        labels     json        NOT NULL,
        run_id     uuid        NOT NULL,
        step       text        NOT NULL,
        pipeline   text        NOT NULL,
        writes     integer     NOT NULL DEFAULT 1,
        written_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, scope, key))
    """,
    "CREATE INDEX memory_expires ON memory (expires_at)",
    # For its owner too. Superusers and BYPASSRLS pass by; hence the role below.
    "ALTER TABLE memory ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    """
    CREATE POLICY memory_of_tenant ON memory
     USING (tenant = current_setting('sluice.tenant', true))
    """,
    # Who purges sees what has expired, whoever's it was, and writes nothing.
    """
    CREATE POLICY memory_of_nobody ON memory
     USING (current_setting('sluice.memory', true) = 'purge' AND expires_at <= now())
      WITH CHECK (false)
    """,
    # Roles belong to the server: another database may make it at the same time, and not everybody
    # may make one. What is lacking then, `sluice doctor` says. Only whom row-level security would
    # not bind is granted it: who has it here has it in other databases too.
    """
    DO $$
    BEGIN
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_memory') THEN
                CREATE ROLE sluice_memory NOLOGIN;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
            RAISE NOTICE 'sluice_memory was not made: %', SQLERRM;
        END;
        BEGIN
            GRANT SELECT, INSERT, UPDATE, DELETE ON memory TO sluice_memory;
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO sluice_memory', current_schema());
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE 'sluice_memory may not use its table: %', SQLERRM;
        END;
        BEGIN
            IF EXISTS (SELECT FROM pg_roles
                        WHERE rolname = current_user AND rolbypassrls AND NOT rolsuper) THEN
                EXECUTE format('GRANT sluice_memory TO %I', current_user);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE 'sluice_memory was not granted: %', SQLERRM;
        END;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
