"""What `recurra up` starts: the parts of the service and its embedded servers."""
