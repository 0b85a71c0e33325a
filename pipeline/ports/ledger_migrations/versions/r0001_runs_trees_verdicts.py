# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs, snapshots, trees with their components, verdicts and promotions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    _runs()
    _trees()
    _verdicts()
    _promotions()


def _run_key(table: str) -> "sa.ForeignKeyConstraint":
    return sa.ForeignKeyConstraint(["run"], ["run.version"], name=f"fk_{table}_run")


def _runs() -> None:
    op.create_table(
        "run",
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("osname", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("ending", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("snapshot", sa.String(64)),
        sa.PrimaryKeyConstraint("version", name="pk_run"),
    )
    op.create_index("ix_run_place", "run", ["place"])
    op.create_index("ix_run_ending", "run", ["ending"])
    op.create_table(
        "snapshot",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("recorded", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_snapshot"),
        _run_key("snapshot"),
    )


def _trees() -> None:
    op.create_table(
        "tree",
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("tree", sa.Text, nullable=False),
        sa.Column("arch", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("commit", sa.String(64), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("snapshot", sa.String(64), nullable=False),
        sa.Column("unchanged", sa.Boolean, nullable=False),
        sa.Column("recorded", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("run", "tree", name="pk_tree"),
        _run_key("tree"),
    )
    op.create_index("ix_tree_commit", "tree", ["commit"])
    op.create_table(
        "tree_component",
        sa.Column("commit", sa.String(64), nullable=False),
        sa.Column("component", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("commit", "component", name="pk_tree_component"),
    )
    op.create_index(
        "ix_tree_component_component_revision", "tree_component", ["component", "revision"]
    )


def _verdicts() -> None:
    op.create_table(
        "verdict",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("commit", sa.String(64), nullable=False),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("tree", sa.Text, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("recorded", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_verdict"),
        sa.UniqueConstraint("commit", "suite", "attempt", name="uq_verdict_commit_suite_attempt"),
        _run_key("verdict"),
    )


def _promotions() -> None:
    op.create_table(
        "promotion",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("osname", sa.Text, nullable=False),
        sa.Column("tree", sa.Text, nullable=False),
        sa.Column("commit", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("gate", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("began", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_promotion"),
        _run_key("promotion"),
    )
    op.create_index("ix_promotion_osname_tree", "promotion", ["osname", "tree"])
    op.create_index("ix_promotion_state", "promotion", ["state"])
    op.create_index("ix_promotion_commit", "promotion", ["commit"])
