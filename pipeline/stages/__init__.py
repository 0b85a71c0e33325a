# SPDX-License-Identifier: LGPL-2.1-or-later
"""Floor 2: the stages of a run, each a function from a typed request to a typed result.

Stages never import each other: what one hands to the next is a value or a commit.
"""
