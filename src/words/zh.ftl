held = x
