"""The knowledge base: articles of a folder of Markdown, ready for full-text search."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = (
    """
    CREATE TABLE kb_article (
        folder     text  NOT NULL,
        path       text  NOT NULL,
        digest     bytea NOT NULL,
        title      text  NOT NULL,
        excerpt    text  NOT NULL,
        keywords   text  NOT NULL,
        categories text  NOT NULL,
        body       text  NOT NULL,
        words      tsvector GENERATED ALWAYS AS (
            setweight(to_tsvector('english', title), 'A')
            || setweight(to_tsvector('english', keywords), 'B')
            || setweight(to_tsvector('simple', keywords), 'B')
            || setweight(to_tsvector('english', body), 'C')) STORED,
        PRIMARY KEY (folder, path))
    """,
    "CREATE INDEX kb_article_words ON kb_article USING gin (words)",
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
