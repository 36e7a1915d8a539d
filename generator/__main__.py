"""`python -m generator`: the same as the command `multieip`."""

from generator.cli.entry import main

main()
