"""Pure decisions: values in, values out. No disk, clock, network, randomness or log."""
