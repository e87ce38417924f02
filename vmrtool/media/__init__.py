"""Video files: what is in them, and their frames at the times a player shows them."""
