"""Routes of accounts: who I am, how I sign in, my keys."""
