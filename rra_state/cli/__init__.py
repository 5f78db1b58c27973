"""The options of the command line, and the actions that they ask for."""
