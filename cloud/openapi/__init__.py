"""What the cloud's API is, said to machines: an OpenAPI 3.1 document, drawn from the routes' own declarations."""
