"""Where configuration becomes objects: environment, model, planner, session. Only this and the command line see sim and hardware."""
