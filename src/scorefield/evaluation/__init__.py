"""How good samples are: features, distances with their uncertainty, memorisation, tuning."""
