"""HTTP only: parse a request, call what it asks for, dump the answer."""
