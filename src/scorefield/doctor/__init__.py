"""Data looked at before training: what they are, what is wrong with them, and a recipe that fits them."""
