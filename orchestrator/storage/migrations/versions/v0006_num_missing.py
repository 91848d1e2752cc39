"""How many of an island's nodes were lost, and are to be started again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; islands known before count as they did."""
    op.add_column("nodes", sa.Column("num_missing", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("nodes", "num_missing")
