# SPDX-License-Identifier: LGPL-2.1-or-later
"""One file a migration, loaded by alembic."""
