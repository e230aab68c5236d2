"""Tables of who people are: users, their sessions, codes, identities and keys."""
