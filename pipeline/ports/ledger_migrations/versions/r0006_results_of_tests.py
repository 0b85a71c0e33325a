# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each test of a suite came to, and how many of them were flaky."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add a table, and a column to the verdicts."""
    flaky = sa.Column("flaky", sa.Integer, nullable=False, server_default="0")
    op.add_column("verdict", flaky)
    op.create_table(
        "test",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("commit", sa.String(64), nullable=False),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("tree", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("is_new", sa.Boolean, nullable=False),
        sa.Column("known", sa.Text, nullable=False),
        sa.Column("recorded", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_test"),
        sa.ForeignKeyConstraint(["run"], ["run.version"], name="fk_test_run"),
    )
    op.create_index("ix_test_tree_suite_name", "test", ["tree", "suite", "name"])
    op.create_index("ix_test_commit_suite", "test", ["commit", "suite"])
