"""Arms behind a wire: each speaks a real arm's protocol to its vendor's own client and moves a MuJoCo arm in real time."""
