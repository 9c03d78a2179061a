"""`python -m fedmed`."""

from fedmed.cli.app import main

main()
