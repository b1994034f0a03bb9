"""Games learned in a dream: a world model of pictures, and a controller that plays."""
