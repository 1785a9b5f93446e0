"""`python -m evoprompt` is the command line, where its program is not on the path."""

from evoprompt.cli import main

main()
