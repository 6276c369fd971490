"""What a fork server imports while its first child runs."""
