"""What `robo-dream doctor` tries, one noun a file; each gives `checks()`."""
