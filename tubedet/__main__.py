"""`python -m tubedet` is the `tubedet` command."""

from tubedet.cli.app import main

main()
