"""How long a training takes to a given error on held-out values, beside other libraries."""
