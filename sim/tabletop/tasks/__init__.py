"""What to achieve: reach, push, lift and place, each with a start, a goal and success in a moderate and a strict sense."""
