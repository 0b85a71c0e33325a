# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what on the page: everybody reads, developers try and force, operators stop, too.

Nobody promotes: that is the gate's alone.
"""

from typing import Any

from buildbot.plugins import util

from pipeline.ports.master_settings import MasterSettings


def authorization(settings: MasterSettings) -> dict[str, Any]:
    """Make the ``auth`` and ``authz`` of the page."""
    operators = [user for user, role in settings.users.items() if role == "operator"]
    developers = list(settings.users)
    rules = [
        # Both write into the ledger what is to be started (``again``, ``asking``).
        util.RebuildBuildEndpointMatcher(role="developer"),
        util.ForceBuildEndpointMatcher(role="developer"),
        # The last word: whatever changes something is an operator's, and refused without any.
        util.AnyControlEndpointMatcher(role="operator"),
    ]
    authz = util.Authz(
        allowRules=rules,
        roleMatchers=[
            util.RolesFromUsername(roles=["operator"], usernames=operators),
            util.RolesFromUsername(roles=["developer"], usernames=developers),
        ],
    )
    if not settings.users:
        return {"authz": authz}
    return {"authz": authz, "auth": util.UserPasswordAuth(dict(settings.passwords))}
