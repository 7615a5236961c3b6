"""The kinds of jobs that netd has. A module here has ``kinds(tools)``, and a line in :func:`bundled`."""

from netd.domain.kinds import Kinds
from netd.work.kinds import audit, boot, configurations, secrets
from netd.work.kinds.tools import Tools


def bundled(tools: Tools) -> Kinds:
    """All of them."""
    return Kinds((*audit.kinds(tools), *boot.kinds(tools), *secrets.kinds(tools), *configurations.kinds(tools)))
