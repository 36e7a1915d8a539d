"""The command line: arguments, output and exit codes; no logic."""
