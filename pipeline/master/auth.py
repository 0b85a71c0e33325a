# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what on the page: everybody reads, and without users nobody does anything else."""

from typing import Any

from buildbot.plugins import util

from pipeline.ports.master_settings import MasterSettings


def authorization(settings: MasterSettings) -> dict[str, Any]:
    """Make the ``auth`` and ``authz`` of the page."""
    developers = [user for user, role in settings.users.items() if role == "developer"]
    operators = [user for user, role in settings.users.items() if role == "operator"]
    rules = [
        util.RebuildBuildEndpointMatcher(role="developer", defaultDeny=False),
        util.RebuildBuildEndpointMatcher(role="operator", defaultDeny=False),
        util.ForceBuildEndpointMatcher(role="developer", defaultDeny=False),
        util.ForceBuildEndpointMatcher(role="operator", defaultDeny=False),
        # The last word: whatever changes something is an operator's, and refused without any.
        util.AnyControlEndpointMatcher(role="operator"),
    ]
    authz = util.Authz(
        allowRules=rules,
        roleMatchers=[
            util.RolesFromUsername(roles=["developer"], usernames=developers),
            util.RolesFromUsername(roles=["operator"], usernames=operators),
        ],
    )
    if not settings.users:
        return {"authz": authz}
    return {"authz": authz, "auth": util.UserPasswordAuth(dict(settings.passwords))}
