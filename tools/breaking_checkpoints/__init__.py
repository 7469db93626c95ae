"""What `chaos.py` does to checkpoints, and what has to hold then."""
