"""When a node began to be paid, which may be long after it was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; nodes known before count as they did, from when they were asked for."""
    op.add_column("nodes", sa.Column("paid_from", sa.Double, nullable=True))
    op.execute("UPDATE nodes SET paid_from = started_at")


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("nodes", "paid_from")
