"""What runs in the web worker of a page."""
