"""What each verb does: ask the daemon, show the answer, end with the right code. Importing a module puts its verbs on the tree."""
