"""The rows of the taxonomy, by area; `fedmed.errors` makes one table of them."""
