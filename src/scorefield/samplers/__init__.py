"""Ways from noise to data, each a frozen dataclass with one generator over a time grid."""
