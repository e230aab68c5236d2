"""The engine's shell: it looks at folders and changes them, and never speaks to a network."""
