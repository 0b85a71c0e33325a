# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rest of the build stage: buildroots, the script, what a build leaves behind."""
