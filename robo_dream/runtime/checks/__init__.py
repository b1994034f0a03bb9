"""What `robo-dream doctor` looks at."""
