"""The processes of `recurra up`: the service's own and the embedded servers."""
