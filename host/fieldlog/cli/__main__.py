"""`python -m fieldlog.cli`: the program, where its script is not on the path."""

from fieldlog.cli.main import main

main()
