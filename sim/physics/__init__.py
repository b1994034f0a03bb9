"""World models whose imagination is true physics: the ceiling that every learned model is measured against."""
