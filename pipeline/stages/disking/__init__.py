# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rest of the disk stage: what is put into a deployment, and how a disk grows from another."""
