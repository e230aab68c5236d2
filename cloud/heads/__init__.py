"""How heads move and are followed: a push judged and kept, a fork begun, a catch-up answered."""
