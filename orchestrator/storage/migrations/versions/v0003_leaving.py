"""Islands that were told to leave, and that their dismissal was told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "leaving",
        sa.Column("island", sa.String(200), primary_key=True),
        sa.Column("dismissed", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("leaving")
