"""What is measured of a network while it trains, on held-out training speakers; and what it is given to learn from then."""
