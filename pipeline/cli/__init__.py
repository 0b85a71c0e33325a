# SPDX-License-Identifier: LGPL-2.1-or-later
"""Floor 3: the command line. Only here do endings become exit codes and facts become colours."""
