"""The kinds of jobs that netd has. A module here has ``kinds(tools)``, and a line in :func:`bundled`."""

from netd.domain.kinds import Kinds
from netd.work.kinds import audit, boot, changes, commands, configurations, inspection, reports, secrets, software
from netd.work.kinds.tools import Tools


def bundled(tools: Tools) -> Kinds:
    """All of them."""
    modules = (audit, secrets, configurations, inspection, commands, changes, software, boot, reports)
    return Kinds(kind for module in modules for kind in module.kinds(tools))
