"""The day of money in one function; windows that show by how much a day was overrun."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    # The only place that says which day it is. Every statement of one transaction gets the same.
    """
    CREATE FUNCTION spend_day() RETURNS date LANGUAGE sql STABLE PARALLEL SAFE AS $$
        SELECT (now() AT TIME ZONE 'utc')::date
    $$
    """,
    "ALTER TABLE spend ADD COLUMN overrun numeric(14, 8) NOT NULL DEFAULT 0",
    # The fleet's row first, so that two transactions over many tenants meet there, in one order.
    # What was spent beyond the reservation that it replaces is an overrun; it counts as spent too.
    """
    CREATE OR REPLACE FUNCTION spend_follows() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        before   numeric := CASE TG_OP WHEN 'UPDATE' THEN OLD.reserved_usd ELSE 0 END;
        paid     numeric := CASE TG_OP WHEN 'UPDATE' THEN OLD.spent_usd ELSE 0 END;
        over     numeric := greatest(0, NEW.spent_usd - paid
                                        - greatest(0, before - NEW.reserved_usd));
        window_  date    := coalesce(NEW.spend_day, spend_day());
        which    text;
    BEGIN
        FOREACH which IN ARRAY ARRAY['fleet', 'tenant:' || (
                SELECT tenant FROM run WHERE id = NEW.run_id)] LOOP
            UPDATE spend
               SET reserved = reserved + NEW.reserved_usd - before,
                   spent    = spent + NEW.spent_usd - paid,
                   overrun  = overrun + over
             WHERE scope = which AND day = window_;
            IF NOT FOUND THEN
                INSERT INTO spend AS w (scope, day, reserved, spent, overrun)
                VALUES (which, window_, NEW.reserved_usd - before, NEW.spent_usd - paid, over)
                ON CONFLICT (scope, day) DO UPDATE
                   SET reserved = w.reserved + EXCLUDED.reserved,
                       spent    = w.spent + EXCLUDED.spent,
                       overrun  = w.overrun + EXCLUDED.overrun;
            END IF;
        END LOOP;
        RETURN NULL;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
