"""What several test folders share; each module says in its name what it holds."""
