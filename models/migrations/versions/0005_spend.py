"""Spend windows of tenants and the fleet, that follow the ledger."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """
    CREATE TABLE spend (
        scope    text           NOT NULL,
        day      date           NOT NULL,
        reserved numeric(14, 8) NOT NULL DEFAULT 0,
        spent    numeric(14, 8) NOT NULL DEFAULT 0,
        PRIMARY KEY (scope, day))
    """,
    "ALTER TABLE ledger_entry ADD COLUMN spend_day date",
    # The fleet's row first, so that two transactions over many tenants meet there, in one order.
    """
    CREATE FUNCTION spend_follows() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        before   numeric := CASE TG_OP WHEN 'UPDATE' THEN OLD.reserved_usd ELSE 0 END;
        paid     numeric := CASE TG_OP WHEN 'UPDATE' THEN OLD.spent_usd ELSE 0 END;
        window_  date    := coalesce(NEW.spend_day, (now() AT TIME ZONE 'utc')::date);
        which    text;
    BEGIN
        FOREACH which IN ARRAY ARRAY['fleet', 'tenant:' || (
                SELECT tenant FROM run WHERE id = NEW.run_id)] LOOP
            UPDATE spend
               SET reserved = reserved + NEW.reserved_usd - before,
                   spent    = spent + NEW.spent_usd - paid
             WHERE scope = which AND day = window_;
            IF NOT FOUND THEN
                INSERT INTO spend AS w (scope, day, reserved, spent)
                VALUES (which, window_, NEW.reserved_usd - before, NEW.spent_usd - paid)
                ON CONFLICT (scope, day) DO UPDATE
                   SET reserved = w.reserved + EXCLUDED.reserved, spent = w.spent + EXCLUDED.spent;
            END IF;
        END LOOP;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER spend_follows_new AFTER INSERT ON ledger_entry FOR EACH ROW
      WHEN (NEW.reserved_usd <> 0 OR NEW.spent_usd <> 0) EXECUTE FUNCTION spend_follows()
    """,
    """
    CREATE TRIGGER spend_follows_changed AFTER UPDATE OF reserved_usd, spent_usd ON ledger_entry
      FOR EACH ROW WHEN (NEW.reserved_usd <> OLD.reserved_usd OR NEW.spent_usd <> OLD.spent_usd)
      EXECUTE FUNCTION spend_follows()
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
