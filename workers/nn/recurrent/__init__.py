"""Recurrent layers: cells, the loops over steps that train them on a processor, and their dropout."""
