"""``python -m netd``: the same as the command ``netd``."""

from netd.cli import main

raise SystemExit(main())
