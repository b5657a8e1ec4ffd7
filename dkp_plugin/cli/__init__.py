"""Commands for people with photographs."""
