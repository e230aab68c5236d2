"""What is done about damage: noticing it, reading everything back, repairing, and building a lost database anew."""
