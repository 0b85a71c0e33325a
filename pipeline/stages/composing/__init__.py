# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts of composing; ``stages.compose`` puts them together."""
