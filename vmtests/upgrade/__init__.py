# SPDX-License-Identifier: LGPL-2.1-or-later
"""The upgrade suite: what testers have becomes the commit under test, as they will do it."""
