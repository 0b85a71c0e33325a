# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests by what they need: unit, ports, flow, vm; bench holds the figures."""
