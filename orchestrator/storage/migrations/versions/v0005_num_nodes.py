"""How many nodes an island has, and what it had taken before their number changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns; islands known before count as they did, as one node each."""
    op.add_column("nodes", sa.Column("num_nodes", sa.Integer, nullable=False, server_default="1"))
    op.add_column("nodes", sa.Column("hours_before", sa.Double, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("nodes", "hours_before")
    op.drop_column("nodes", "num_nodes")
