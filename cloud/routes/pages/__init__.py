"""Pages for people: plain HTML from the server, no scripts, nothing from elsewhere."""
