# SPDX-License-Identifier: LGPL-2.1-or-later
"""Long campaigns, in parts that can be stopped and taken up again."""
