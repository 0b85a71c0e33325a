# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``promote`` is made of: the rule, the move, the summary, and what is published."""
