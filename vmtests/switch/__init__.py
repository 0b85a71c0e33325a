# SPDX-License-Identifier: LGPL-2.1-or-later
"""The switch suite: from one target's tree to another's and back."""
