"""`python -m xal.cli`."""

from xal.cli.app import main

main()
