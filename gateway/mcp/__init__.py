"""Tools and resources for other models, by the Model Context Protocol."""
