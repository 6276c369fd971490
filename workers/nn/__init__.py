"""The networks: three inputs × six outputs × three cells, each written once."""
