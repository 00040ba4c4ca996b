"""The verbs of the command line and their options, a file for each group of verbs."""
