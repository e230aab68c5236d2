"""Answers of the daemon as lines for people. Pure: what is shown depends on the arguments alone."""
