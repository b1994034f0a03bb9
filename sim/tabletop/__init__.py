"""Our own world: a table, an arm, objects and cameras, with tasks and behaviours."""
