"""An atom above a surface of any alloy, without its energy."""
