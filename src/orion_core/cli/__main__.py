"""``python -m orion_core.cli``."""

from orion_core.cli import main

main()
