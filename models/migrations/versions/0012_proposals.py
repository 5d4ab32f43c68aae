"""Proposals: by which run an approved one is carried out."""

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS = ("ALTER TABLE review ADD COLUMN used_by uuid",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
