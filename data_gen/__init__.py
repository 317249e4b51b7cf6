"""Objects, scene recipes, renderers and writers: data whose views are group elements."""
